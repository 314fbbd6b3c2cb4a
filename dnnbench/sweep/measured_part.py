"""The measured part of a trial, which goes on without lost workers where its protocol allows that.

A worker is lost if it is killed, makes no progress for too long, loses its connection to a
parameter server, or was on a host that is lost. An asynchronous protocol needs none of them: as
long as every parameter server and one worker are left, the trial is ``degraded``, not failed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dnnbench.errors import HostError
from dnnbench.sweep.failures import Failed, listed
from dnnbench.sweep.trial_events import PortTakenError
from dnnbench.trial.messages import (
    EpochEnd,
    PortReserved,
    Progress,
    RoleExited,
    ServerReady,
    Stop,
    Trained,
    WarmedUp,
)
from dnnbench.trial.outcome import LostWorker
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.tasks import WORKER, split_task

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agents import Agents
    from dnnbench.sweep.trial_events import TrialEvents
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import Failure
    from dnnbench.trial.spec import TrialSpec

_PROGRESS: Final = (Progress, EpochEnd, PortReserved, ServerReady, WarmedUp)
"""Signs of life of a worker; the last three are of one that was started again."""
_FIRST: Final = f"{WORKER}:0"


class MeasuredPart:
    """Waits until every worker has trained, or is lost.

    Args:
        events: of the trial.
        spec: the trial.
        placement: task -> host.
        agents: the agents on these hosts.
        limits: timeouts, and what to do at the loss of a worker.
        notice: called with what the user should know.
        restart: starts a lost worker again, from the epoch given.
    """

    def __init__(
        self,
        events: TrialEvents,
        spec: TrialSpec,
        placement: Mapping[str, str],
        agents: Agents,
        *,
        limits: RunConfig,
        notice: Callable[[str], None],
        restart: Callable[[str, int], None],
    ) -> None:
        self._events = events
        self._spec = spec
        self._placement = placement
        self._agents = agents
        self._limits = limits
        self._notice = notice
        self._restart = restart
        self._left = {task for task in placement if split_task(task)[0] == WORKER}
        self._epochs = dict.fromkeys(self._left, 1)
        self._start_s = agents.now_s()
        self._seen_s = dict.fromkeys(self._left, self._start_s)
        self._warned: set[str] = set()
        self._exiting: set[str] = set()  # to be started again as soon as they are gone
        self._restarts_left = limits.restart_workers

    @property
    def left(self) -> set[str]:
        """The workers that are not lost, or were started again."""
        return self._left

    @property
    def evaluator(self) -> str:
        """The worker that evaluates: ``worker:0``, or the next one that is left."""
        return min(self._left, key=split_task)

    def run(self) -> None:
        """Wait for the end of training.

        Raises:
            Failed: a failure that the trial does not survive.
        """
        while self._seen_s:
            failed = self._take_next()
            if failed:
                self._go_on_after(failed)

    def _take_next(self) -> Failed | None:
        """Take the next event, or warn of the slowest worker; return what failed, if anything."""
        slowest = min(self._seen_s, key=self._seen_s.__getitem__)
        limit_s = self._limits.stall_timeout_s
        warns = slowest not in self._warned and self._limits.stall_warning_s < limit_s
        wait_s = self._limits.stall_warning_s if warns else limit_s
        try:
            found = self._events.next_event(self._seen_s[slowest] + wait_s)
        except Failed as failed:
            return failed
        except PortTakenError:  # for a worker that is started again, whose failure follows
            return None
        if found is not None:
            self._note(found[1])
        elif warns:
            self._warned.add(slowest)
            where = listed([slowest], self._placement)
            self._notice(
                f"{self._spec.id}: no progress of {where} for {wait_s:g} s; it counts as lost "
                f"after {limit_s:g} s"
            )
        else:
            return self._stalled(slowest)
        return None

    def _note(self, event: AnyEvent) -> None:
        task = event.task
        if isinstance(event, Trained):
            self._seen_s.pop(task, None)
        elif isinstance(event, RoleExited) and task in self._exiting:
            self._start_again(task)
        elif isinstance(event, _PROGRESS) and task in self._seen_s:
            self._seen_s[task] = self._agents.now_s()
            self._warned.discard(task)
            if isinstance(event, Progress):
                self._epochs[task] = min(max(event.epoch, 1), self._spec.epochs)
            elif isinstance(event, EpochEnd):
                self._epochs[task] = min(event.record.epoch + 1, self._spec.epochs)

    def _stalled(self, slowest: str) -> Failed:
        """Return the failure for a worker without progress: its own, or what it waits for."""
        limit_s = self._limits.stall_timeout_s
        still_s = self._agents.now_s() - limit_s / 2
        is_alone = len(self._seen_s) > 1 and any(s > still_s for s in self._seen_s.values())
        is_last = len(self._seen_s) == 1 < len(self._left)  # the others have trained
        still = [slowest] if is_alone or is_last else []
        waiting_for = f"progress of {listed(still or self._seen_s, self._placement)}"
        return self._events.overdue(waiting_for, limit_s, still=still)

    def _go_on_after(self, failed: Failed) -> None:
        """Go on without the workers that a failure is about, or start them again.

        Raises:
            Failed: the trial cannot go on.
        """
        tasks = self._tasks_of(failed)
        if not tasks or not self._survives(failed, tasks):
            raise failed
        for host in {self._placement[task] for task in tasks}:
            if host in self._agents.lost:
                self._events.leave(host)
            else:  # one that hangs would wake up and push
                with suppress(HostError):
                    self._agents.send(host, Stop(tasks=self._on(host, tasks)))
        self._events.dismiss(tasks)
        for task in tasks:
            self._lose(task, failed.failure)

    def _tasks_of(self, failed: Failed) -> list[str]:
        """Return the tasks that are gone; empty if the failure is of none."""
        failure = failed.failure
        if failed.culprits:
            return sorted(failed.culprits, key=split_task)
        if failure.task:
            return [failure.task]
        on_host = [task for task in self._placement if self._placement[task] == failure.host]
        gone = {lost.task for lost in self._events.account.lost_workers} - self._left
        return [task for task in on_host if task not in gone]

    def _survives(self, failed: Failed, tasks: Collection[str]) -> bool:
        """Return whether the trial goes on without these tasks."""
        protocol = find_protocol(self._spec.protocol.name)
        again = {lost.task for lost in self._events.account.lost_workers}
        return (
            self._limits.on_worker_loss == "continue"
            # An error of the program would meet the other workers, too.
            and (failed.is_external or again.issuperset(tasks))
            and not protocol.synchronous
            and self._spec.parameter_servers > 0
            and self._left.issuperset(tasks)  # no parameter server, and no agent
            and len(self._left) > len(tasks)
            # worker:0 sets the learning rate on the parameter servers.
            and not (_FIRST in tasks and self._spec.protocol.is_scheduled)
        )

    def _lose(self, task: str, failure: Failure) -> None:
        """Note the loss of a worker, and start it again if it may be."""
        host = self._placement[task]
        # The snapshots of worker:0 end with it.
        restarts = self._restarts_left > 0 and task != _FIRST and host not in self._agents.lost
        lost = LostWorker(
            task,
            host,
            failure.cause,
            epoch=self._epochs[task],
            after_s=self._agents.now_s() - self._start_s,
            is_restarted=restarts,
            kind=failure.kind,
        )
        self._events.account.lost_workers.append(lost)
        self._notice(f"{self._spec.id}: lost {lost}; the others go on")
        if not restarts:
            self._left.discard(task)
            self._seen_s.pop(task, None)
            return
        self._restarts_left -= 1
        self._seen_s[task] = self._agents.now_s()
        if task in self._events.running:
            self._exiting.add(task)
        else:
            self._start_again(task)

    def _start_again(self, task: str) -> None:
        self._exiting.discard(task)
        self._seen_s[task] = self._agents.now_s()
        self._events.expect_again(task)
        self._restart(task, self._epochs[task])

    def _on(self, host: str, tasks: Collection[str]) -> list[str]:
        return [task for task in tasks if self._placement[task] == host]
