"""Run one trial: prepare, start, connect, warm up, train, account; and always tear down."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.errors import HostError
from dnnbench.sweep.failures import Failed, failure_of_host, headline, listed
from dnnbench.sweep.measured_part import MeasuredPart
from dnnbench.sweep.trial_events import PortTakenError, TrialEvents
from dnnbench.trial.messages import (
    Connect,
    Finish,
    Go,
    Leave,
    PortReserved,
    Prepare,
    Prepared,
    Restart,
    RoleExited,
    ServerReady,
    Start,
    Stop,
    WarmedUp,
    WarmStart,
    WarmStarted,
    WarmUp,
)
from dnnbench.trial.outcome import Failure
from dnnbench.trial.tasks import (
    PARAMETER_SERVER,
    WORKER,
    ClusterSpec,
    accountants,
    split_task,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agents import Agents
    from dnnbench.trial.messages import AnyEvent, Order
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

TEAR_DOWN_TIMEOUT_S: Final = 15.0
PORT_ATTEMPTS: Final = 3


def run_trial(
    spec: TrialSpec,
    placement: Mapping[str, str],
    agents: Agents,
    *,
    cores: Mapping[str, int],
    limits: RunConfig,
    watch: Callable[[AnyEvent], None],
    phase: Callable[[str], None],
    notice: Callable[[str], None],
) -> TrialOutcome:
    """Run one trial to its outcome, good or bad; no process of it is left on a living host.

    A host that is lost on the way is in ``agents.lost`` from then on. The trial fails, unless only
    workers of an asynchronous protocol were there, and it was already being measured.

    Args:
        spec: what to run.
        placement: task -> host.
        agents: the agents on these hosts, and possibly others.
        cores: host -> cores that its roles share.
        limits: timeouts.
        watch: called with every event of the trial.
        phase: called with what is being waited for.
        notice: called with what the user should know, such as the loss of a worker.

    Raises:
        KeyboardInterrupt: after the tear-down.
    """
    limits = _with_pace(limits, spec)
    events = TrialEvents(spec, placement, agents, limits=limits, watch=watch)
    trial = _Trial(
        spec, placement, agents, events, cores=cores, limits=limits, phase=phase, notice=notice
    )
    failed: Failed | None = None
    try:
        trial.run()
    except Failed as error:
        failed = error
    finally:
        trial.tear_down()
    failure = headline(failed, events.loss())
    return events.account.outcome(spec, placement, trial.workers, failure)


def _with_pace(limits: RunConfig, spec: TrialSpec) -> RunConfig:
    """Return the limits on a wait for progress, lengthened by what a paced run takes on purpose."""
    return msgspec.structs.replace(
        limits,
        stall_timeout_s=limits.stall_timeout_s + spec.paced_run_s,
        stall_warning_s=limits.stall_warning_s + spec.paced_run_s,
    )


class _Trial:
    """The phases of one trial.

    Attributes:
        workers: its worker tasks.
    """

    def __init__(
        self,
        spec: TrialSpec,
        placement: Mapping[str, str],
        agents: Agents,
        events: TrialEvents,
        *,
        cores: Mapping[str, int],
        limits: RunConfig,
        phase: Callable[[str], None],
        notice: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._placement = placement
        self._agents = agents
        self._cores = cores
        self._events = events
        self._limits = limits
        self._phase = phase
        self._notice = notice
        self._addresses: dict[str, str] = {}
        self.workers = {task for task in placement if split_task(task)[0] == WORKER}
        self._servers = {task for task in placement if split_task(task)[0] == PARAMETER_SERVER}

    def run(self) -> None:
        """Take the trial through its phases.

        Raises:
            Failed: it ended early.
        """
        events = self._events
        self._phase("preparing data and graph")
        spec = self._spec_on_hosts()
        for host in events.hosts:
            own_core = self._cores[host] >= len(self._tasks_on(host))
            self._send_to(host, Prepare(trial=spec, own_core=own_core))
        events.from_agents(Prepared)
        self._start_on_free_ports()
        if spec.warm_start_epochs:
            self._phase("warm start of worker:0, alone")
            self._send(WarmStart())
            events.training({f"{WORKER}:0"}, until=WarmStarted)
        self._phase("warming up")
        self._send(WarmUp())
        events.from_tasks(WarmedUp, self.workers)
        self._phase("training")
        self._send(Go())
        part = MeasuredPart(
            events,
            self._spec,
            self._placement,
            self._agents,
            limits=self._limits,
            notice=self._notice,
            restart=self._restart,
        )
        with events.account.training():
            part.run()
        self._phase("evaluating")
        events.let_end()
        events.let_evaluate(part.evaluator)
        self._send(Finish(evaluator=part.evaluator))
        events.accounts(accountants(self._placement), part.left)
        events.complete(part.left)
        self._send(Leave())
        events.from_tasks(RoleExited, self._servers)

    def tear_down(self) -> None:
        """Kill what still runs and wait until it is gone. Idempotent.

        A host on which a role survives the kill is lost.
        """
        if not self._events.running and not self._limits.checkpoints_every_s(self._spec):
            return
        for host in self._events.hosts:
            with suppress(HostError):  # go on with the other hosts
                self._agents.send(host, Stop())
        left = self._events.exits(TEAR_DOWN_TIMEOUT_S)
        for host in {self._placement[task] for task in left}:
            tasks = listed(left.intersection(self._tasks_on(host)), self._placement)
            problem = f"{tasks} still there {TEAR_DOWN_TIMEOUT_S:g} s after the kill"
            self._agents.lose(host, HostError(problem, where=host))

    def _spec_on_hosts(self) -> TrialSpec:
        """Return the spec with the data directory of the hosts, if theirs is a different one."""
        directory = self._agents.data_directory
        if directory is None:
            return self._spec
        data = msgspec.structs.replace(self._spec.data, directory=directory)
        return msgspec.structs.replace(self._spec, data=data)

    def _start_on_free_ports(self) -> None:
        """Start the roles, and again on other ports if a reserved one was taken in the meantime."""
        for _ in range(PORT_ATTEMPTS):
            try:
                self._start()
                break
            except PortTakenError:
                self.tear_down()
                if failure := self._events.loss():
                    raise Failed(failure) from None
        else:
            cause = f"no free port for every role in {PORT_ATTEMPTS} attempts"
            raise Failed(Failure(cause=cause, kind="port"))

    def _start(self) -> None:
        """Fork the roles, send them the cluster spec, and wait for their TensorFlow servers."""
        self._phase("starting the roles")
        for host in self._events.hosts:
            tasks = self._tasks_on(host)
            start = Start(
                tasks=tasks, threads=self._threads(host), ports=self._held_ports(host, tasks)
            )
            self._events.start(tasks)
            self._send_to(host, start)
        ports = self._events.from_tasks(PortReserved, self._placement)
        address = {host.name: host.address for host in self._agents.hosts}
        self._addresses = {
            task: f"{address[self._placement[task]]}:{event.port}" for task, event in ports.items()
        }
        self._phase("starting TensorFlow's servers")
        cluster = ClusterSpec.from_tasks(self._addresses)
        self._send(Connect(cluster, self._limits.checkpoints_every_s(self._spec)))
        self._events.from_tasks(ServerReady, self._placement)

    def _restart(self, task: str, first_epoch: int) -> None:
        """Fork a lost role again, at its old address."""
        host = self._placement[task]
        restart = Restart(
            task=task,
            threads=self._threads(host),
            port=int(self._addresses[task].rpartition(":")[2]),
            cluster=ClusterSpec.from_tasks(self._addresses),
            first_epoch=first_epoch,
            checkpoint_s=self._limits.checkpoints_every_s(self._spec),
        )
        self._send_to(host, restart)

    def _threads(self, host: str) -> int:
        return max(1, self._cores[host] // len(self._tasks_on(host)))

    def _tasks_on(self, host: str) -> list[str]:
        return [task for task, place in self._placement.items() if place == host]

    def _held_ports(self, host: str, tasks: list[str]) -> dict[str, int] | None:
        """Return a held port for each task; None if the kernel chooses ports."""
        ports = self._agents.ports(host)
        if ports is None:
            return None
        if len(ports) < len(tasks):  # other ports may be taken, or closed by a firewall
            cause = f"{len(tasks)} tasks need one port each, only {len(ports)} are held here"
            raise Failed(Failure(cause=cause, host=host))
        return dict(zip(tasks, ports, strict=False))

    def _send(self, order: Order) -> None:
        for host in self._events.hosts:
            self._send_to(host, order)

    def _send_to(self, host: str, order: Order) -> None:
        try:
            self._agents.send(host, order)
        except HostError as error:
            raise Failed(failure_of_host(host, error)) from None
