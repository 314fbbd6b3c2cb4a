"""Build a trial's outcome from its events; keep the last lines of every task's log."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.sweep.failures import is_harmless
from dnnbench.trial.messages import (
    Checkpointed,
    Diverged,
    EpochEnd,
    Evaluated,
    HostUsed,
    Log,
    Prepared,
    Served,
    Trained,
    WarmedUp,
    WarmStarted,
)
from dnnbench.trial.outcome import TrialOutcome
from dnnbench.trial.seeds import task_seed
from dnnbench.trial.tasks import WORKER, split_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import (
        Divergence,
        EpochRecord,
        EvaluationRecord,
        Failure,
        LostServer,
        LostWorker,
        Status,
        WarmupRecord,
    )
    from dnnbench.trial.spec import TrialSpec
    from dnnbench.trial.usage import HostUse

_LOG_TAIL_LINES: Final = 12


class OutcomeBuilder:
    """Builds the outcome of a trial from its events.

    Attributes:
        served: task -> its final account, of each task that has sent one.
        lost_workers: those that the trial went on without.
        lost_servers: those that were started again.
        checkpoints: parameter server -> its last two checkpoints, which are those on its disk, and
            when this process learned of each.
    """

    def __init__(self) -> None:
        self.served: dict[str, Served] = {}
        self.lost_workers: list[LostWorker] = []
        self.lost_servers: list[LostServer] = []
        self.checkpoints: dict[str, deque[tuple[Checkpointed, float]]] = {}
        self._set_back: dict[str, int] = {}
        self._start_s = time.monotonic()
        self._start_up_s = 0.0
        self._training_s = 0.0
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._logs: dict[str, deque[str]] = {}
        self._warm_start: WarmupRecord | None = None
        self._warmups: list[WarmupRecord] = []
        self._epochs: list[EpochRecord] = []
        self._evaluations: list[EvaluationRecord] = []
        self._pushed: dict[str, int] = {}
        self._replicas: dict[str, str] = {}
        self._divergence: Divergence | None = None
        self._use: dict[str, HostUse] = {}
        self._parameters: int | None = None

    @contextmanager
    def training(self) -> Iterator[None]:
        """Measure the block as the trial's training; all time before it is start-up."""
        go_s = time.monotonic()
        self._start_up_s = go_s - self._start_s
        yield
        self._training_s = time.monotonic() - go_s

    def note(self, event: AnyEvent, host: str) -> None:
        """Add an event of a host."""
        if isinstance(event, Log):
            if not is_harmless(event.line):
                self._logs.setdefault(event.task, deque(maxlen=_LOG_TAIL_LINES)).append(event.line)
        elif isinstance(event, Prepared):
            self._parameters = event.parameters
        elif isinstance(event, Served):
            self.served[event.task] = event
        elif isinstance(event, Trained):
            self._pushed[event.task] = event.updates_pushed
            self._replicas[event.task] = event.replica_sha256
        elif isinstance(event, Checkpointed):
            known = self.checkpoints.setdefault(event.task, deque(maxlen=2))
            known.append((event, time.monotonic()))
        elif isinstance(event, HostUsed):
            self._use[host] = event.use
        else:
            self._note_record(event)

    def _note_record(self, event: AnyEvent) -> None:
        """Add an event whose record is stored as it is."""
        if isinstance(event, WarmStarted):
            self._warm_start = event.record
        elif isinstance(event, WarmedUp):
            self._warmups.append(event.record)
        elif isinstance(event, EpochEnd):
            self._epochs.append(event.record)
        elif isinstance(event, Evaluated):
            self._evaluations.append(event.record)
        elif isinstance(event, Diverged) and self._divergence is None:
            self._divergence = event.record

    def log_tail(self, task: str) -> list[str]:
        """Return the last lines that a task wrote, of those that could explain a failure."""
        return list(self._logs.get(task, []))

    def has_trained(self, task: str) -> bool:
        """Return whether a worker has done its epochs."""
        return task in self._pushed

    def epochs_of(self, task: str) -> int:
        """Return how many epochs a worker has done."""
        return sum(record.task == task for record in self._epochs)

    def restored(self, task: str, updates: int) -> None:
        """Note to how many updates a parameter server's shard has been set back."""
        self._set_back[task] = updates - sum(self._pushed.values())
        index = max(n for n, lost in enumerate(self.lost_servers) if lost.task == task)
        lost, known = self.lost_servers[index], self.checkpoints[task]
        used_s = max((s for event, s in known if event.updates <= updates), default=known[0][1])
        self.lost_servers[index] = msgspec.structs.replace(
            lost,
            updates_restored=updates,
            checkpoint_age_s=lost.checkpoint_age_s + known[-1][1] - used_s,
        )

    def odd_count(self) -> tuple[str, str] | None:
        """Return a parameter server with fewer or more updates than were pushed, and why it is odd.

        The two are equal. If roles were lost, others pushed more than is known of.
        """
        pushed = sum(self._pushed.values())
        is_whole = not self.lost_workers and not self.lost_servers
        for task, served in self.served.items():
            expected, found = pushed + self._set_back.get(task, 0), served.updates_applied
            if found < expected or (is_whole and found > expected):
                least = "" if is_whole else "at least "
                return task, (
                    f"expected {least}{expected:,} updates, as many as were pushed, found "
                    f"{found:,}: its parameters were initialized afresh, or changed by a process "
                    "that is not of this trial"
                )
        return None

    def gap(
        self, spec: TrialSpec, workers: Iterable[str], evaluator: str
    ) -> tuple[str, str] | None:
        """Return a worker that lacks a result, and which one; None if all are complete."""
        for worker in sorted(workers, key=split_task):
            found = sum(record.task == worker for record in self._epochs)
            if found < spec.epochs:
                return worker, f"expected results of {spec.epochs} epochs, found {found}"
        if not any(record.epoch is None for record in self._evaluations):
            return evaluator, "expected the accuracy of the final parameters, found none"
        return None

    def _differing_replicas(self) -> list[str]:
        """Return the workers whose parameters differ from those of the first one."""
        expected = self._replicas.get(f"{WORKER}:0")
        if expected is None:
            return []
        return sorted((t for t, of in self._replicas.items() if of != expected), key=split_task)

    def outcome(
        self,
        order: TrialSpec,
        placement: Mapping[str, str],
        workers: Iterable[str],
        failure: Failure | None,
    ) -> TrialOutcome:
        """Return the outcome of the trial; what a divergence entails is not a failure."""
        steps = sum(record.steps for record in self._epochs)
        cpu_s = sum(served.cpu_s for served in self.served.values())
        return TrialOutcome(
            order=order,
            status=self._status(failure),
            started_at=self._started_at,
            duration_s=time.monotonic() - self._start_s,
            start_up_s=self._start_up_s,
            training_s=self._training_s,
            parameter_server_cpu_s=cpu_s,
            updates_pushed=sum(self._pushed.values()),
            updates_applied=[
                self.served[task].updates_applied for task in sorted(self.served, key=split_task)
            ],
            placement=dict(placement),
            seeds={task: task_seed(order.seed, task) for task in sorted(workers, key=split_task)},
            warm_start=self._warm_start,
            warmups=self._warmups,
            epochs=[
                msgspec.structs.replace(
                    record, parameter_server_cpu_s=cpu_s * record.steps / max(steps, 1)
                )
                for record in self._epochs
            ],
            evaluations=self._evaluations,
            differing_replicas=self._differing_replicas(),
            failure=None if self._divergence else failure,
            divergence=self._divergence,
            use=self._use,
            parameters=self._parameters,
            lost_workers=self.lost_workers,
            lost_servers=self.lost_servers,
        )

    def _status(self, failure: Failure | None) -> Status:
        if self._divergence:
            return "diverged"
        if failure:
            return "failed"
        return "degraded" if self.lost_workers or self.lost_servers else "ok"


def without_result(
    order: TrialSpec,
    placement: Mapping[str, str],
    status: Status,
    failure: Failure,
    duration_s: float = 0.0,
) -> TrialOutcome:
    """Return the outcome of a trial that was interrupted or never began."""
    started = datetime.now(timezone.utc) - timedelta(seconds=duration_s)
    return TrialOutcome(
        order=order,
        status=status,
        started_at=started.isoformat(timespec="seconds"),
        duration_s=duration_s,
        placement=dict(placement),
        failure=failure,
    )
