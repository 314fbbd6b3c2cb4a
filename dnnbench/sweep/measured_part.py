"""The measured part of a trial, which goes on without lost workers where its protocol allows that.

A worker is lost if it is killed, makes no progress for too long, loses its connection to a
parameter server, or was on a host that is lost. An asynchronous protocol needs none of them: as
long as every parameter server and one worker are left, the trial is ``degraded``, not failed.

A parameter server is lost if it is killed or does not respond. Where it may be started again, all
workers that still train are stopped: TensorFlow's sessions do not survive it. The server restores
its last checkpoint, and the workers start again in the epochs in which they were stopped.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.errors import HostError
from dnnbench.sweep.failures import Failed, listed
from dnnbench.sweep.trial_events import PortTakenError
from dnnbench.trial.messages import (
    CheckpointFailed,
    EpochEnd,
    PortReserved,
    Progress,
    RoleExited,
    ServerReady,
    Stop,
    Trained,
    WarmedUp,
)
from dnnbench.trial.outcome import Failure, LostServer, LostWorker
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.tasks import PARAMETER_SERVER, WORKER, split_task

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agents import Agents
    from dnnbench.sweep.trial_events import TrialEvents
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.spec import TrialSpec

_PROGRESS: Final = (Progress, EpochEnd, PortReserved, ServerReady, WarmedUp)
"""Signs of life of a role; the last three are of one that was started again."""
_FIRST: Final = f"{WORKER}:0"


class MeasuredPart:
    """Waits until every worker has trained, or is lost.

    Args:
        events: of the trial.
        spec: the trial.
        placement: task -> host.
        agents: the agents on these hosts.
        limits: timeouts, and what to do at the loss of a role.
        notice: called with what the user should know.
        restart: starts a lost role again, a worker from the epoch given.
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
        self._account = events.account
        self._spec = spec
        self._placement = placement
        self._agents = agents
        self._limits = limits
        self._notice = notice
        self._restart = restart
        self._servers = {task for task in placement if split_task(task)[0] == PARAMETER_SERVER}
        self._left = {task for task in placement if split_task(task)[0] == WORKER}
        self._cut_off: set[str] = set()  # trained, but from a server that is there no more
        self._start_s = agents.now_s()
        self._seen_s = dict.fromkeys(self._left, self._start_s)
        self._noted: set[str] = set()  # tasks that a note is about
        self._again: set[str] = set()  # to be started again as soon as that is possible
        self._exiting: set[str] = set()  # of these, those that are not gone yet
        self._restoring: set[str] = set()
        self._worker_restarts_left = limits.restart_workers
        self._server_restarts_left = limits.restart_servers

    @property
    def left(self) -> set[str]:
        """The workers that are not lost, or were started again."""
        return self._left

    @property
    def evaluator(self) -> str:
        """The worker that evaluates: ``worker:0``, or the next one that can."""
        return min(self._left - self._cut_off, key=split_task)

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
        """Take the next event, or warn of the slowest task; return what failed, if anything."""
        slowest = min(self._seen_s, key=self._seen_s.__getitem__)
        limit_s = self._limits.stall_timeout_s
        warns = slowest not in self._noted and self._limits.stall_warning_s < limit_s
        wait_s = self._limits.stall_warning_s if warns else limit_s
        try:
            found = self._events.next_event(self._seen_s[slowest] + wait_s)
        except Failed as failed:
            return failed
        except PortTakenError:  # for a role that is started again, whose failure follows
            return None
        if found is not None:
            self._note(found[1])
        elif warns:
            self._noted.add(slowest)
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
            self._exiting.discard(task)
            self._start_what_can()
        elif isinstance(event, ServerReady) and task in self._restoring:
            self._go_on_with(event)
        elif isinstance(event, CheckpointFailed) and task not in self._noted:
            self._noted.add(task)
            where = listed([task], self._placement)
            self._notice(f"{self._spec.id}: no checkpoint of {where}: {event.cause}")
        elif isinstance(event, _PROGRESS) and task in self._seen_s:
            self._seen_s[task] = self._agents.now_s()
            self._noted.discard(task)

    def _stalled(self, slowest: str) -> Failed:
        """Return the failure for a task without progress: its own, or what it waits for."""
        limit_s = self._limits.stall_timeout_s
        still_s = self._agents.now_s() - limit_s / 2
        is_alone = len(self._seen_s) > 1 and any(s > still_s for s in self._seen_s.values())
        is_last = len(self._seen_s) == 1 < len(self._left)  # the others have trained
        still = [slowest] if is_alone or is_last else []
        waiting_for = f"progress of {listed(still or self._seen_s, self._placement)}"
        return self._events.overdue(waiting_for, limit_s, still=still)

    def _go_on_after(self, failed: Failed) -> None:
        """Go on without the tasks that a failure is about, or start them again.

        Raises:
            Failed: the trial cannot go on.
        """
        tasks = self._tasks_of(failed)
        servers = self._servers.intersection(tasks)
        workers = [task for task in tasks if task not in servers]
        if servers:
            self._check_restorable(failed, servers)
        if not tasks or (workers and not self._survives(failed, workers)):
            raise failed
        stopped = {*tasks, *(self._seen_s.keys() - self._restoring if servers else ())}
        for host in {self._placement[task] for task in stopped}:
            if host in self._agents.lost:
                self._events.leave(host)
            else:  # one that hangs would wake up and push
                on_host = sorted(task for task in stopped if self._placement[task] == host)
                with suppress(HostError):
                    self._agents.send(host, Stop(tasks=on_host))
        self._events.dismiss(stopped)
        for task in workers:
            self._lose_worker(task, failed.failure)
        if servers:
            self._lose_servers(servers, failed.failure)
        self._start_what_can()

    def _tasks_of(self, failed: Failed) -> list[str]:
        """Return the tasks that are gone; empty if the failure is of none."""
        failure = failed.failure
        if failed.culprits:
            return sorted(failed.culprits, key=split_task)
        if failure.task:
            return [failure.task]
        on_host = [task for task in self._placement if self._placement[task] == failure.host]
        gone = {lost.task for lost in self._account.lost_workers} - self._left
        return [task for task in on_host if task not in gone]

    def _survives(self, failed: Failed, workers: Collection[str]) -> bool:
        """Return whether the trial goes on without these workers."""
        protocol = find_protocol(self._spec.protocol.name)
        again = {lost.task for lost in self._account.lost_workers}
        return (
            self._limits.on_worker_loss == "continue"
            # An error of the program would meet the other workers, too.
            and (failed.is_external or again.issuperset(workers))
            and not protocol.synchronous
            and self._spec.parameter_servers > 0
            and self._left.issuperset(workers)  # no agent
            and bool(self._left - self._cut_off - set(workers))
            # worker:0 sets the learning rate on the parameter servers.
            and not (_FIRST in workers and self._spec.protocol.is_scheduled)
        )

    def _check_restorable(self, failed: Failed, servers: set[str]) -> None:
        """Let a trial fail that cannot start its lost parameter servers again.

        Raises:
            Failed: it cannot, for the reason added to the cause.
        """
        allowed = self._limits.restart_servers
        if not allowed:
            raise failed
        hosts = {self._placement[task] for task in servers}
        reasons = {
            f"workers of {self._spec.protocol.name} wait for each other": (
                find_protocol(self._spec.protocol.name).synchronous
            ),
            "it would meet its own error again": not failed.is_external,
            "its checkpoints are on the lost host": bool(hosts & self._agents.lost.keys()),
            f"restart_servers is {allowed}": len(servers) > self._server_restarts_left,
            "it has no checkpoint yet": bool(servers - self._account.checkpoints.keys()),
        }
        if why := next((reason for reason, holds in reasons.items() if holds), None):
            cause = f"{failed.failure.cause}; not started again: {why}"
            failure = msgspec.structs.replace(failed.failure, cause=cause)
            raise Failed(failure, noticed=failed.noticed, is_external=failed.is_external)

    def _lose_worker(self, task: str, failure: Failure) -> None:
        """Note the loss of a worker, and whether it is started again."""
        host = self._placement[task]
        restarts = (
            self._worker_restarts_left > 0
            and task != _FIRST  # whose snapshots end with it
            and not self._account.has_trained(task)
            and host not in self._agents.lost
        )
        lost = LostWorker(
            task,
            host,
            failure.cause,
            epoch=self._epoch_of(task),
            after_s=self._agents.now_s() - self._start_s,
            is_restarted=restarts,
            kind=failure.kind,
        )
        self._account.lost_workers.append(lost)
        self._notice(f"{self._spec.id}: lost {lost}; the others go on")
        if not restarts:
            self._left.discard(task)
            self._seen_s.pop(task, None)
            return
        self._worker_restarts_left -= 1
        self._seen_s[task] = self._agents.now_s()
        self._await_exit([task])

    def _lose_servers(self, servers: Collection[str], failure: Failure) -> None:
        """Note the loss of parameter servers; they and the workers that train start again."""
        workers = self._seen_s.keys() - self._servers
        now_s = self._agents.now_s()
        for task in sorted(servers, key=split_task):
            checkpoint, noted_s = self._account.checkpoints[task][-1]
            lost = LostServer(
                task,
                self._placement[task],
                failure.cause,
                epoch=min(self._epoch_of(worker) for worker in workers or self._left),
                after_s=now_s - self._start_s,
                checkpoint_age_s=time.monotonic() - noted_s + checkpoint.duration_s,
                updates_restored=checkpoint.updates,
                kind=failure.kind,
            )
            self._account.lost_servers.append(lost)
            self._notice(f"{self._spec.id}: lost {lost}; it is started again, then the workers")
            self._server_restarts_left -= 1
        self._cut_off |= self._left - workers - self._again
        self._restoring.difference_update(servers)
        self._seen_s = dict.fromkeys({*servers, *self._restoring}, now_s)
        self._await_exit({*servers, *workers})

    def _await_exit(self, tasks: Collection[str]) -> None:
        self._again.update(tasks)
        self._exiting.update(self._events.running.intersection(tasks))

    def _start_what_can(self) -> None:
        """Start again what is gone; servers first, once no worker is left that could push."""
        if servers := self._again & self._servers:
            ready = set() if self._exiting else servers
        else:
            ready = set() if self._restoring else self._again - self._exiting
        for task in sorted(ready, key=split_task):
            self._start_again(task)

    def _start_again(self, task: str) -> None:
        self._again.discard(task)
        if self._account.has_trained(task):  # while it was being stopped
            self._cut_off.add(task)
            return
        self._seen_s[task] = self._agents.now_s()
        self._events.expect_again(task)
        if task in self._servers:
            self._restoring.add(task)
        self._restart(task, self._account.epochs_of(task) + 1)

    def _go_on_with(self, ready: ServerReady) -> None:
        """Go on with a server that is there again, if it has the parameters of a checkpoint.

        Raises:
            Failed: it has not, or no worker is left that could go on.
        """
        task, host = ready.task, self._placement[ready.task]
        oldest, _ = self._account.checkpoints[task][0]
        if ready.updates is None or ready.updates < oldest.updates:
            cause = (
                f"expected {oldest.updates:,} updates or more, as in its checkpoints, found "
                f"{ready.updates or 0:,}: its parameters were initialized afresh"
            )
            raise Failed(Failure(cause, task=task, host=host))
        self._account.restored(task, ready.updates)
        self._restoring.discard(task)
        self._seen_s.pop(task, None)
        self._start_what_can()
        if self._left <= self._cut_off:
            cause = "lost after every worker had trained, so that none could evaluate"
            raise Failed(Failure(cause, task=task, host=host))

    def _epoch_of(self, task: str) -> int:
        """Return the epoch in which a worker is."""
        return min(self._account.epochs_of(task) + 1, self._spec.epochs)
