"""What the events of a trial add up to: its outcome, and the last lines of every task's log."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from dnnbench.trial.outcome import TrialOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import Failure, Status
    from dnnbench.trial.spec import TrialSpec

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from dnnbench.trial.messages import EpochEnd, Evaluated, Log, Served, Trained, WarmedUp
from dnnbench.trial.seeds import task_seed
from dnnbench.trial.tasks import split_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import EpochRecord, EvaluationRecord, Failure, WarmupRecord
    from dnnbench.trial.spec import TrialSpec

_LOG_TAIL_LINES = 12


class OutcomeBuilder:
    """Keeps what a trial's events say, from its start on.

    Attributes:
        start_s: monotonic.
        start_up_s: set once the measured part begins; ``training_s`` once it is over.
        served: parameter servers that have accounted.
    """

    def __init__(self) -> None:
        self.start_s = time.monotonic()
        self.start_up_s = 0.0
        self.training_s = 0.0
        self.served: dict[str, Served] = {}
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._logs: dict[str, deque[str]] = {}
        self._warmups: list[WarmupRecord] = []
        self._epochs: list[EpochRecord] = []
        self._evaluations: list[EvaluationRecord] = []
        self._pushed: dict[str, int] = {}

    def note(self, event: AnyEvent) -> None:
        """Keep what an event says."""
        if isinstance(event, Log):
            self._logs.setdefault(event.task, deque(maxlen=_LOG_TAIL_LINES)).append(event.line)
        elif isinstance(event, WarmedUp):
            self._warmups.append(event.record)
        elif isinstance(event, EpochEnd):
            self._epochs.append(event.record)
        elif isinstance(event, Evaluated):
            self._evaluations.append(event.record)
        elif isinstance(event, Served):
            self.served[event.task] = event
        elif isinstance(event, Trained):
            self._pushed[event.task] = event.updates_pushed

    def log_tail(self, task: str) -> list[str]:
        """Return the last lines that a task wrote."""
        return list(self._logs.get(task, []))

    def outcome(
        self,
        order: TrialSpec,
        placement: Mapping[str, str],
        workers: Iterable[str],
        failure: Failure | None,
    ) -> TrialOutcome:
        """Return what came of the trial."""
        steps = sum(record.steps for record in self._epochs)
        cpu_s = sum(served.cpu_s for served in self.served.values())
        return TrialOutcome(
            order=order,
            status="failed" if failure else "ok",
            started_at=self._started_at,
            duration_s=time.monotonic() - self.start_s,
            start_up_s=self.start_up_s,
            training_s=self.training_s,
            parameter_server_cpu_s=cpu_s,
            updates_pushed=sum(self._pushed.values()),
            updates_applied=[
                self.served[task].updates_applied for task in sorted(self.served, key=split_task)
            ],
            placement=dict(placement),
            seeds={task: task_seed(order.seed, task) for task in sorted(workers, key=split_task)},
            warmups=self._warmups,
            epochs=[
                msgspec.structs.replace(
                    record, parameter_server_cpu_s=cpu_s * record.steps / max(steps, 1)
                )
                for record in self._epochs
            ],
            evaluations=self._evaluations,
            failure=failure,
        )


def without_result(
    order: TrialSpec,
    placement: Mapping[str, str],
    status: Status,
    failure: Failure,
    duration_s: float = 0.0,
) -> TrialOutcome:
    """Return the outcome of a trial that was cut short, or never began."""
    started = datetime.now(timezone.utc) - timedelta(seconds=duration_s)
    return TrialOutcome(
        order=order,
        status=status,
        started_at=started.isoformat(timespec="seconds"),
        duration_s=duration_s,
        placement=dict(placement),
        failure=failure,
    )
