"""The live view of a running sweep on a terminal, drawn twice per second."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from dnnbench.cli.views.sweep import QuietView
from dnnbench.cli.views.trial import outcome_lines, setting_text
from dnnbench.cli.views.words import left_text, number, workers_figures, workers_text
from dnnbench.text.safe import one_line
from dnnbench.text.words import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from typing_extensions import Self

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.sweep.progress import SweepProgress, TrialProgress
    from dnnbench.trial.outcome import TrialOutcome

_Item = TypeVar("_Item")

REFRESHES_PER_S: Final = 2
_OTHER_LINES = 10
"""Lines for the rest of the live view, and for some of the ended trials above it."""
_LEAST_ROLES = 3
"""Lines of roles that the figures so far leave room for."""
_WIDE_COLUMNS = 70


class LiveView(QuietView):
    """Shows trials done and left, and the current roles; ended trials scroll away above."""

    def __init__(self, printer: Printer, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live  # only on a terminal

        super().__init__(clock)
        self._printer = printer
        self._console = printer.err
        self._phase = ""
        self._phase_start_s = clock()
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._done = threading.Event()
        self._drawing = threading.Thread(target=self._draw, name="live view", daemon=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._drawing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._drawing.join()
        self._live.stop()

    def _draw(self) -> None:
        # Not rich's own thread: it may draw while a line is being printed above, and leave debris.
        while not self._done.wait(1 / REFRESHES_PER_S):
            with self._lock:
                self._live.refresh()

    def _show_phase(self, text: str) -> None:
        self._phase, self._phase_start_s = one_line(text), self._clock()

    def _show_notice(self, text: str) -> None:
        self._print(f"note: {text}", "yellow")

    def _show_outcome(self, outcome: TrialOutcome) -> None:
        self._show_phase("")
        style = "" if outcome.status == "ok" else "yellow"
        first, *others = outcome_lines(outcome)
        for line in (f"{outcome.order.id:<16}  {first}", *others):
            self._print(line, style)

    def _show_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._print(line, "")

    def _print(self, line: str, style: str) -> None:
        """Print a line above the view, as a Text, in which rich expands no markup or emoji."""
        from rich.text import Text  # only on a terminal

        text = self._printer.completed(one_line(line))
        self._console.print(Text(text, style), soft_wrap=True)

    def render(self) -> RenderableType:
        """Lay out the view; called by the thread that draws it."""
        from rich.console import Group  # only on a terminal
        from rich.text import Text

        sweep = self.sweep
        if sweep is None:
            return Text(self._phase)
        waited = duration_text(self._clock() - self._phase_start_s)
        phase = Text(f"{self._phase} {waited}" if self._phase else "", style="cyan")
        trials = list(sweep.running.values())
        if len(trials) != 1:
            return Group(_sweep_line(sweep), phase, *self._lines(trials))
        spec = trials[0].spec
        trial = Text(no_wrap=True, overflow="ellipsis")
        trial.append(spec.id, style="bold").append(f"  {setting_text(spec)}")
        figures = self.table.lines() if self.table else []
        if len(figures) > self._console.height - _OTHER_LINES - _LEAST_ROLES:
            figures = []
        roles = self._roles(trials[0], len(figures))
        return Group(_sweep_line(sweep), trial, phase, "", roles, *map(Text, figures))

    def _lines(self, trials: Sequence[TrialProgress]) -> Iterator[RenderableType]:
        """Lay out trials side by side, one line each, as many as fit on the screen."""
        from rich.text import Text  # only on a terminal

        shown = self._that_fit(trials)
        for trial in shown:
            line = Text(no_wrap=True, overflow="ellipsis")
            yield line.append(trial.spec.id, style="bold").append(f"  {workers_text(trial)}")
        if len(shown) < len(trials):
            yield Text(f"and {len(trials) - len(shown)} more", style="dim")

    def _that_fit(self, items: Sequence[_Item], others: int = 0) -> Sequence[_Item]:
        """Return all items if the screen has room for a line each, else one less than fit.

        Args:
            items: of one line each.
            others: lines below them.
        """
        room = max(self._console.height - _OTHER_LINES - others, 1)
        return items if len(items) <= room else items[: room - 1]

    def _roles(self, trial: TrialProgress, below: int) -> Table:
        """Lay out as many roles as fit on the screen, and the workers' total."""
        from rich.progress_bar import ProgressBar  # only on a terminal
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("task", no_wrap=True)
        table.add_column("state", no_wrap=True, min_width=8)
        table.add_column("epoch", no_wrap=True, justify="right")
        table.add_column("", width=20 if self._console.width >= _WIDE_COLUMNS else 8)
        table.add_column("step", no_wrap=True, justify="right", min_width=7)
        table.add_column("examples/s", no_wrap=True, justify="right")
        table.add_column("loss", no_wrap=True, justify="right", min_width=6)
        roles, epochs = list(trial.roles.values()), trial.spec.epochs
        shown = self._that_fit(roles, below)
        for role in shown:
            trains = bool(role.epoch)
            bar = ProgressBar(total=1.0, completed=role.done(epochs)) if trains else ""
            table.add_row(
                Text(one_line(role.task)),
                Text(one_line(role.state), style="red" if role.state == "failed" else ""),
                f"{role.epoch}/{epochs}" if trains else "",
                bar,
                f"{role.step}/{role.steps_per_epoch}" if trains else "",
                number(role.examples_per_s, ",.0f"),
                number(role.loss, ".4f"),
            )
        if len(shown) < len(roles):
            table.add_row(Text(f"and {len(roles) - len(shown)} more", style="dim"))
        per_s, loss, done = workers_figures(trial)
        together = ProgressBar(total=1.0, completed=done) if done else ""
        table.add_row("workers", "", "", together, "", per_s, loss, style="bold")
        return table


def _sweep_line(sweep: SweepProgress) -> RenderableType:
    from rich.progress_bar import ProgressBar  # only on a terminal
    from rich.table import Table

    text = f"{sweep.ended} of {sweep.total} trials"
    text += "".join(f", {count} {status}" for status, count in sweep.counts.items())
    left = f"{duration_text(sweep.elapsed_s)}, {left_text(sweep)}"
    line = Table.grid(padding=(0, 2, 0, 0), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    line.add_row(text, ProgressBar(total=sweep.total, completed=sweep.ended), left)
    return line
