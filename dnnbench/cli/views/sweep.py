"""Show a running sweep: as a live view on a terminal, as plain lines elsewhere, or not at all.

The roles being measured share the cores with this process, so watching must cost next to nothing:
events only change a few attributes, and their sum is drawn twice per second on a terminal or
printed every ten seconds elsewhere.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from dnnbench.cli.views.provisional import Provisional
from dnnbench.cli.views.trial import outcome_lines, setting_text
from dnnbench.sweep.progress import SweepProgress, TrialProgress
from dnnbench.text.safe import one_line
from dnnbench.text.words import about_text, duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from typing_extensions import Self

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

_Item = TypeVar("_Item")

REFRESHES_PER_S: Final = 2
LINE_INTERVAL_S: Final = 10.0
_OTHER_LINES = 10
"""Lines for the rest of the live view, and for some of the ended trials above it."""
_LEAST_ROLES = 3
"""Lines of roles that the figures so far leave room for."""
_WIDE_COLUMNS = 70


class QuietView:
    """Shows nothing; the other views build on it. An observer of `dnnbench.sweep.runner`.

    Attributes:
        sweep: progress of the sweep; None before it has started.
        table: its figures so far; likewise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.sweep: SweepProgress | None = None
        self.table: Provisional | None = None
        self._clock = clock
        self._lock = threading.RLock()  # a live view draws from a thread of its own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def sweep_started(self, plan: Plan, pending: list[TrialSpec]) -> None:
        """Show the number of trials to run."""
        with self._lock:
            if self.table:  # of the sweep that this one rehearses, whose report is yet to come
                self._show_lines(self.table.lines())
            self.sweep = SweepProgress(plan, pending, self._clock)
            self.table = Provisional(plan, pending)
            self._show_sweep(self.sweep, pending)

    def phase(self, text: str) -> None:
        """Show the current phase."""
        with self._lock:
            self._show_phase(text)

    def notice(self, text: str) -> None:
        """Show a note to the user."""
        with self._lock:
            self._show_notice(text)

    def trial_started(self, order: TrialSpec) -> None:
        """Show the start of a trial."""
        assert self.sweep
        with self._lock:
            self.sweep.trial_started(order)
            self._show_trial(self.sweep, order)

    def event(self, order: TrialSpec, event: AnyEvent) -> None:
        """Show the progress of a trial."""
        assert self.sweep
        with self._lock:
            self.sweep.event(order, event)
            self._show_event(self.sweep, self.sweep.running[order.id])

    def trial_ended(self, outcome: TrialOutcome) -> None:
        """Show the outcome of a trial."""
        assert self.sweep
        with self._lock:
            self.sweep.trial_ended(outcome)
            self._show_outcome(outcome)
            if self.table and self.table.add(outcome) and not self.table.is_complete:
                self._show_provisional(self.table.lines())

    def _show_sweep(self, sweep: SweepProgress, pending: list[TrialSpec]) -> None: ...
    def _show_phase(self, text: str) -> None: ...
    def _show_notice(self, text: str) -> None: ...
    def _show_trial(self, sweep: SweepProgress, order: TrialSpec) -> None: ...
    def _show_event(self, sweep: SweepProgress, trial: TrialProgress) -> None: ...
    def _show_outcome(self, outcome: TrialOutcome) -> None: ...
    def _show_provisional(self, lines: list[str]) -> None: ...
    def _show_lines(self, lines: list[str]) -> None: ...


class PlainView(QuietView):
    """Prints a line when a trial starts and ends, and at most one every ten seconds in between."""

    def __init__(
        self, print_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._print = print_line
        self._printed_s = clock()

    def _show_sweep(self, sweep: SweepProgress, pending: list[TrialSpec]) -> None:
        about = about_text(sweep.remaining_s())
        self._line(f"{len(pending)} of {sweep.total} trials to run, {about}")

    def _show_phase(self, text: str) -> None:
        if self.sweep and not self.sweep.running:
            self._line(f"{text} ...")

    def _show_notice(self, text: str) -> None:
        self._line(f"note: {text}")

    def _show_trial(self, sweep: SweepProgress, order: TrialSpec) -> None:
        number = f"{sweep.ended + len(sweep.running)}/{sweep.total}"
        self._line(f"[{number}] {order.id}: {setting_text(order)}")

    def _show_event(self, sweep: SweepProgress, trial: TrialProgress) -> None:
        if self._clock() - self._printed_s >= LINE_INTERVAL_S:
            name = f"{trial.spec.id}: " if len(sweep.running) > 1 else ""
            self._line(f"  {name}{_workers_text(trial)}; {_left_text(sweep)}")

    def _show_outcome(self, outcome: TrialOutcome) -> None:
        if outcome.status == "not run" and self.sweep:  # no line has named this trial yet
            self._line(f"[{self.sweep.ended}/{self.sweep.total}] {outcome.order.id}")
        name = f"{outcome.order.id}: " if self.sweep and self.sweep.plan.parallel > 1 else ""
        for line in outcome_lines(outcome):
            self._line(f"  {name}{line}")

    def _show_provisional(self, lines: list[str]) -> None:
        self._show_lines(lines)

    def _show_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._line(f"    {line}")

    def _line(self, text: str) -> None:
        self._print(text)
        self._printed_s = self._clock()


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
            yield line.append(trial.spec.id, style="bold").append(f"  {_workers_text(trial)}")
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
                _number(role.examples_per_s, ",.0f"),
                _number(role.loss, ".4f"),
            )
        if len(shown) < len(roles):
            table.add_row(Text(f"and {len(roles) - len(shown)} more", style="dim"))
        per_s, loss, done = _together(trial)
        together = ProgressBar(total=1.0, completed=done) if done else ""
        table.add_row("workers", "", "", together, "", per_s, loss, style="bold")
        return table


def make_view(printer: Printer) -> QuietView:
    """Choose the view for this command and this terminal."""
    if printer.quiet:
        return QuietView()
    return LiveView(printer) if printer.is_live else PlainView(printer.note)


def _sweep_line(sweep: SweepProgress) -> RenderableType:
    from rich.progress_bar import ProgressBar  # only on a terminal
    from rich.table import Table

    text = f"{sweep.ended} of {sweep.total} trials"
    text += "".join(f", {count} {status}" for status, count in sweep.counts.items())
    left = f"{duration_text(sweep.elapsed_s)}, {_left_text(sweep)}"
    line = Table.grid(padding=(0, 2, 0, 0), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    line.add_row(text, ProgressBar(total=sweep.total, completed=sweep.ended), left)
    return line


def _left_text(sweep: SweepProgress) -> str:
    left_s = sweep.remaining_s()
    return about_text(left_s) if left_s is None else f"{about_text(left_s)} left"


def _together(trial: TrialProgress) -> tuple[str, str, float]:
    """Return examples/s and mean loss of all workers as text, and how much they have done."""
    workers = trial.workers
    per_s = [role.examples_per_s for role in workers if role.examples_per_s is not None]
    losses = [role.loss for role in workers if role.loss is not None]
    done = sum(role.done(trial.spec.epochs) for role in workers) / max(len(workers), 1)
    mean = sum(losses) / len(losses) if losses else None
    return _number(sum(per_s) if per_s else None, ",.0f"), _number(mean, ".4f"), done


def _workers_text(trial: TrialProgress) -> str:
    per_s, loss, done = _together(trial)
    if not per_s:
        return "starting"
    return f"{done:.0%} trained, {per_s} examples/s, loss {loss}"


def _number(value: float | None, style: str) -> str:
    return "" if value is None else format(value, style)
