"""The trials that a run of a sweep has still to start, in order.

A trial whose failure may be transient comes first again. When enough repeats of a cell have
failed, its other trials are skipped. Several failures in a row end the run.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final

from dnnbench.errors import CauseKind, TrialError
from dnnbench.sweep.void import is_void, void_reason
from dnnbench.trial.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import CellKey, TrialSpec

MAX_FAILURES_IN_A_ROW: Final = 3
RETRIED: Final[dict[CauseKind, bool]] = {
    # Transient: a network that broke may hold, a host may answer again, a port may be free.
    "disconnected": True,
    "ssh-unreachable": True,
    "port": True,
    "stalled": True,
    "crashed": True,
    # Permanent until somebody acts: the next attempt would cost as much, and fail as well.
    "ssh-auth": False,
    "host-key": False,
    "out-of-memory": False,
    "disk-full": False,
    "illegal-instruction": False,
    "data": False,
    "version": False,
}
"""Kind of a failure's cause -> whether the same trial is run again at once.

A failure of no kind is one of the program, such as an exception in a model: it is not.
"""


class Agenda:
    """The trials that are still to start.

    Args:
        pending: the trials of the run, in order.
        repeats: planned for each cell.
        retries: times that a trial is run again after a transient failure.
        void_after: failed trials of this run that void a cell; 0 for none.
        notice: called with what the user should know.
    """

    def __init__(
        self,
        pending: Iterable[TrialSpec],
        *,
        repeats: int,
        retries: int,
        void_after: int,
        notice: Callable[[str], None],
    ) -> None:
        self._waiting = deque(pending)
        self._repeats = repeats
        self._retries = retries
        self._void_after = void_after
        self._notice = notice
        self._retried: Counter[str] = Counter()
        self._to_retry: dict[str, TrialOutcome] = {}
        self._failed: defaultdict[CellKey, set[str]] = defaultdict(set)
        self._in_a_row = 0

    @property
    def first(self) -> TrialSpec | None:
        """The next trial; None if there is none."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> TrialSpec:
        """Remove and return the next trial."""
        return self._waiting.popleft()

    def clear(self) -> None:
        """Start no more trials."""
        self._waiting.clear()

    def reason_to_skip(self, spec: TrialSpec) -> Failure | None:
        """Return why a trial must not start: its cell is void; None if it may."""
        if reason := self._void_reason(spec.cell):
            return Failure(f"skipped: its cell is void, as {reason}")
        return None

    def earlier_failure(self, spec: TrialSpec) -> TrialOutcome | None:
        """Return the outcome of a trial that is to be run again in this run; None otherwise."""
        return self._to_retry.get(spec.id)

    def note(self, outcome: TrialOutcome) -> None:
        """Take the outcome of a trial; of one that could not be run again, its earlier failure.

        Raises:
            TrialError: it is one failure too many in a row.
        """
        spec = outcome.order
        could_not = self._to_retry.pop(spec.id, None) is outcome
        if outcome.status == "not run":
            return
        if outcome.status != "failed":
            self._in_a_row = 0
        elif not could_not and self._may_retry(outcome):
            self._retry(outcome)
        else:
            self._settle(outcome)

    def _may_retry(self, outcome: TrialOutcome) -> bool:
        kind = outcome.failure.kind if outcome.failure else None
        return (
            kind is not None
            and RETRIED[kind]
            and self._retried[outcome.order.id] < self._retries
            and not self._void_reason(outcome.order.cell)
        )

    def _retry(self, outcome: TrialOutcome) -> None:
        spec = outcome.order
        self._retried[spec.id] += 1
        self._to_retry[spec.id] = outcome
        self._waiting.appendleft(spec)
        kind = outcome.failure.kind if outcome.failure else None
        attempt = f"retry {self._retried[spec.id]} of {self._retries}"
        self._notice(f"{spec.id} is run again at once ({attempt}): {kind} may be transient")

    def _settle(self, outcome: TrialOutcome) -> None:
        """Count a failure that stands."""
        spec = outcome.order
        was_void = self._void_reason(spec.cell)
        self._failed[spec.cell].add(spec.id)
        self._in_a_row += 1
        if (reason := self._void_reason(spec.cell)) and not was_void:
            self._notice(f"{spec.cell} is void, as {reason}; its other trials are skipped")
        if self._in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise TrialError(
                f"{MAX_FAILURES_IN_A_ROW} trials in a row failed, the last with: "
                f"{outcome.failure.cause if outcome.failure else 'no cause known'}",
                where=spec.id,
                remedy="fix the cause, then resume with `dnnbench run --resume`",
            )

    def _void_reason(self, cell: CellKey) -> str | None:
        failed = len(self._failed[cell])
        return void_reason(failed, self._repeats) if is_void(failed, self._void_after) else None
