"""Progress of a sweep: its trials, the roles of the current one, and the time left."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dnnbench.trial.messages import (
    Diverged,
    EpochEnd,
    Event,
    PortReserved,
    Progress,
    RoleExited,
    RoleFailed,
    Served,
    ServerReady,
    Trained,
    WarmedUp,
    WarmStarted,
)
from dnnbench.trial.tasks import PARAMETER_SERVER, split_task, task_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import Status, TrialOutcome
    from dnnbench.trial.spec import CellKey, TrialSpec


@dataclass
class Role:
    """One task of the current trial.

    Attributes:
        state: one word.
        step: within ``epoch``; both 0 before the measured part.
        loss: None until something has been measured, like ``examples_per_s``.
    """

    task: str
    state: str = "starting"
    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 0
    examples_per_s: float | None = None
    loss: float | None = None

    @property
    def is_worker(self) -> bool:
        """Whether it computes gradients."""
        return split_task(self.task)[0] != PARAMETER_SERVER

    def take(self, event: AnyEvent) -> None:
        """Update the role from an event of its task."""
        if isinstance(event, Progress):
            self.state = "training" if event.epoch else "warm start"
            self.epoch, self.step = event.epoch, event.step
            self.steps_per_epoch = event.steps_per_epoch
            self.examples_per_s, self.loss = event.examples_per_s, event.loss
        elif isinstance(event, EpochEnd):
            record = event.record
            self.state = "training"
            self.epoch, self.step, self.steps_per_epoch = record.epoch, record.steps, record.steps
            self.examples_per_s = record.examples / max(record.duration_s, 1e-9)
            self.loss = record.loss
        else:
            self.state = self._state_after(event)

    def done(self, epochs: int) -> float:
        """Return the fraction of its epochs that a worker has done, 0 to 1."""
        if not self.epoch:
            return 0.0
        return (self.epoch - 1 + self.step / max(self.steps_per_epoch, 1)) / epochs

    def _state_after(self, event: AnyEvent) -> str:
        if isinstance(event, ServerReady):
            return "ready" if self.is_worker else "serving"
        if isinstance(event, RoleExited):
            return "failed" if event.code else self.state
        return _STATE_AFTER.get(type(event), self.state)


_STATE_AFTER: Final[dict[type[Event], str]] = {
    PortReserved: "started",
    WarmStarted: "ready",
    WarmedUp: "warm",
    Trained: "done",
    Served: "done",
    Diverged: "diverged",
    RoleFailed: "failed",
}


_COUNTED: Final[tuple[Status, ...]] = ("degraded", "diverged", "failed", "interrupted", "not run")


class TrialProgress:
    """A running trial.

    Attributes:
        roles: by task.
    """

    def __init__(self, spec: TrialSpec, start_s: float) -> None:
        self.spec = spec
        self.start_s = start_s
        self.roles = {task: Role(task) for task in task_names(spec.nodes, spec.parameter_servers)}

    @property
    def workers(self) -> list[Role]:
        """Roles that compute gradients."""
        return [role for role in self.roles.values() if role.is_worker]

    def event(self, event: AnyEvent) -> None:
        """Update the roles from an event of the trial."""
        if isinstance(event, PortReserved):
            self.roles[event.task] = Role(event.task)  # forked again after a port clash
        if event.task in self.roles:
            self.roles[event.task].take(event)


class SweepProgress:
    """A running sweep, updated from its events.

    Attributes:
        total: trials of the plan.
        running: id -> the trials that run, in the order of their start.
    """

    def __init__(
        self,
        plan: Plan,
        pending: list[TrialSpec],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.total = len(plan.orders)
        self.running: dict[str, TrialProgress] = {}
        self._clock = clock
        self._pending = {spec.id: spec for spec in pending}
        self._ended_before = self.total - len(pending)
        self._statuses: dict[str, Status] = {}
        self._has_begun = False
        self._start_s = clock()
        self._measured_s: dict[CellKey, list[float]] = defaultdict(list)
        self._estimated_sum_s = 0.0
        self._measured_sum_s = 0.0

    @property
    def ended(self) -> int:
        """Trials that are over, whatever their status."""
        return self._ended_before + len(self._statuses)

    @property
    def counts(self) -> dict[Status, int]:
        """Status -> trials that ended with it in this run, of those that are not ``ok``."""
        counts = Counter(self._statuses.values())
        return {status: counts[status] for status in _COUNTED if counts[status]}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the sweep was started or resumed."""
        return self._clock() - self._start_s

    def trial_started(self, spec: TrialSpec) -> None:
        """Begin a trial with fresh roles, perhaps again after a failure."""
        self._has_begun = True
        self._statuses.pop(spec.id, None)
        self._pending[spec.id] = spec
        self.running[spec.id] = TrialProgress(spec, self._clock())

    def event(self, spec: TrialSpec, event: AnyEvent) -> None:
        """Update a running trial."""
        self.running[spec.id].event(event)

    def trial_ended(self, outcome: TrialOutcome) -> None:
        """Count a trial and learn from its duration."""
        spec = outcome.order
        self._has_begun = True
        self.running.pop(spec.id, None)
        self._statuses[spec.id] = outcome.status
        self._pending.pop(spec.id, None)
        if outcome.status != "ok":  # its duration does not predict the others
            return
        self._measured_s[spec.cell].append(outcome.duration_s)
        if spec.id in self.plan.estimated_s:
            self._measured_sum_s += outcome.duration_s
            self._estimated_sum_s += self.plan.estimated_s[spec.id]

    def remaining_s(self) -> float | None:
        """Estimate the seconds to the end of the sweep; None while they cannot be told.

        The next trial of a cell is expected to take as long as its measured ones. For other cells
        the plan's estimate, where there is one, is scaled by its error so far. Trials side by side
        are expected to stay as many as now.
        """
        left_s = 0.0
        if not self._has_begun and self._pending:
            left_s = max(self.plan.import_s - self.elapsed_s, 0.0)
        for spec in self._pending.values():
            expected_s = self._expected_s(spec)
            if expected_s is None:
                return None
            if trial := self.running.get(spec.id):
                expected_s -= min(self._clock() - trial.start_s, expected_s)
            left_s += expected_s
        return left_s / (len(self.running) or self.plan.parallel)

    def _expected_s(self, spec: TrialSpec) -> float | None:
        measured_s = self._measured_s.get(spec.cell)
        if measured_s:
            return sum(measured_s) / len(measured_s)
        stretch = self._measured_sum_s / self._estimated_sum_s if self._estimated_sum_s else 1.0
        estimated_s = self.plan.estimated_s.get(spec.id)
        return None if estimated_s is None else estimated_s * stretch
