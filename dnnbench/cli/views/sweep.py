"""Show a running sweep: as a live view on a terminal, as plain lines elsewhere, or not at all.

The roles being measured share the cores with this process, so watching must cost next to nothing:
events only change a few attributes, and their sum is drawn twice per second on a terminal, see
`dnnbench.cli.views.live`, or printed every ten seconds elsewhere.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from dnnbench.cli.views.provisional import Provisional
from dnnbench.cli.views.trial import outcome_lines, setting_text
from dnnbench.cli.views.words import left_text, workers_text
from dnnbench.sweep.progress import SweepProgress, TrialProgress
from dnnbench.text.words import about_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

LINE_INTERVAL_S: Final = 10.0


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
            self._line(f"  {name}{workers_text(trial)}; {left_text(sweep)}")

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


def make_view(printer: Printer) -> QuietView:
    """Choose the view for this command and this terminal."""
    if printer.quiet:
        return QuietView()
    if not printer.is_live:
        return PlainView(printer.note)
    from dnnbench.cli.views.live import LiveView  # only on a terminal

    return LiveView(printer)
