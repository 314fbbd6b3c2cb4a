"""Run a plan: start agents, run trials, and store each outcome as it comes."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from dnnbench.errors import ConfigError, HostError, TrialError
from dnnbench.sweep.agents import combined
from dnnbench.sweep.beside import run_beside
from dnnbench.sweep.limits import Limits
from dnnbench.sweep.outcome import without_result
from dnnbench.sweep.placement import place
from dnnbench.sweep.recorder import Recorder
from dnnbench.sweep.trial_run import run_trial
from dnnbench.trial.machine import load_average, snapshot
from dnnbench.trial.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence

    from typing_extensions import Self

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agents import Agents, AgentSource
    from dnnbench.sweep.limits import Limit
    from dnnbench.sweep.placement import Host
    from dnnbench.sweep.plan import Plan
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.machine import MachineSnapshot
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import Status, TrialOutcome
    from dnnbench.trial.spec import TrialSpec

MAX_FAILURES_IN_A_ROW = 3


class Observer(Protocol):
    """An observer of a running sweep, such as a view."""

    def sweep_started(self, plan: Plan, pending: list[TrialSpec]) -> None:
        """Take the trials of the plan that are still to run."""

    def phase(self, text: str) -> None:
        """Take the phase that is being waited for."""

    def notice(self, text: str) -> None:
        """Take a note for the user, such as that a host is down."""

    def trial_started(self, order: TrialSpec) -> None:
        """Take the trial that starts."""

    def event(self, order: TrialSpec, event: AnyEvent) -> None:
        """Take an event of the running trial."""

    def trial_ended(self, outcome: TrialOutcome) -> None:
        """Take the outcome of a trial, already stored. One that was not run was never started."""


def run_sweep(
    store: SweepStore,
    observer: Observer,
    source: AgentSource,
    limits: Sequence[Limit] = (),
    then: Callable[[], SweepStore | None] = lambda: None,
) -> list[TrialOutcome]:
    """Run every pending trial of a sweep, in the plan's order, side by side if it says so.

    Trials that need more hosts than are available are not run; they stay pending.

    Args:
        store: the sweep.
        observer: is told of its progress.
        source: of the agents that the trials run on.
        limits: a trial that would end past one is not started, and nor is any after it.
        then: called after its last trial; returns a sweep that goes on with the same agents, if
            any.

    Returns:
        The outcomes of the sweep's trials, including failed ones and those that were not run.

    Raises:
        HostError: no host could be used, or none is left.
        TrialError: several trials in a row failed; the others are left to ``run --resume``.
        LimitError: a limit was reached; likewise.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP, after the tear-down; finished trials are
            stored.
    """
    with signals_interrupt(), Cluster(observer, source) as cluster:
        outcomes = _run_pending(store, observer, cluster, limits)
        if following := then():
            _run_pending(following, observer, cluster)
        return outcomes


def _run_pending(
    store: SweepStore, observer: Observer, cluster: Cluster, limits: Sequence[Limit] = ()
) -> list[TrialOutcome]:
    """Run the pending trials of one sweep as a session of its own."""
    with store.locked():
        newest = store.sessions()[-1:]
        if store.has_outcomes() or not newest or newest[0].load_after is not None:
            store.begin_session(snapshot())  # resumed; `create` wrote the first session
        pending = store.pending()
        observer.sweep_started(store.plan, pending)
        outcomes: list[TrialOutcome] = []
        allowed = Limits(limits, store.plan.estimated_s)
        try:
            cluster.serve(store, pending, allowed)
            run = run_beside if store.plan.parallel > 1 else _in_turn
            trials = run(cluster, pending)
            with contextlib.closing(trials):
                for outcome in trials:
                    outcomes.append(outcome)
                    allowed.note(outcome)
                    _refuse_to_go_on_failing(outcomes)
            if allowed.refusal:
                raise allowed.refusal
        finally:
            store.end_session(load_average())
        return outcomes


def _in_turn(cluster: Cluster, pending: Sequence[TrialSpec]) -> Generator[TrialOutcome, None, None]:
    """Run one trial after the other."""
    for spec in pending:
        if not cluster.limits.admits(spec):
            return
        yield cluster.run(spec)


class Cluster:
    """The agents of a sweep; started for the first trial, and again after a loss.

    A host that is down at a start stays out to the end, so that it is waited for only once.

    Attributes:
        parallel: trials that may run at once.
        limits: to ask before each trial whether it may start.
    """

    parallel: int
    limits: Limits
    _store: SweepStore
    _limits: RunConfig
    _needed: int

    def __init__(self, observer: Observer, source: AgentSource) -> None:
        self._observer = observer
        self._source = source
        self._out: dict[str, HostError] = {}
        self._agents: Agents | None = None
        self._hosts: list[Host] = []
        self._machines: dict[str, MachineSnapshot] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def serve(self, store: SweepStore, pending: list[TrialSpec], limits: Limits) -> None:
        """Turn to a sweep, whose hosts may be those of the one before."""
        self.limits = limits
        self.parallel = store.plan.parallel
        self._store = store
        self._limits = store.resolved.config.run
        most = max((order.nodes for order in pending), default=0)
        slots = sum(host.slots or most for host in store.plan.hosts)
        # Side by side, a spare host replaces a lost one while trials run on the others.
        self._needed = max(most, slots) if self.parallel > 1 else most
        if self._agents:
            store.note_hosts(self._machines)

    def run(self, spec: TrialSpec) -> TrialOutcome:
        """Run one trial if the available hosts suffice for it, and store its outcome."""
        agents = self._agents or self._start()
        placement = _placed(spec, self._hosts)
        agents.drain()
        if placement and agents.lost.keys() & set(placement.values()):
            self._close()
            agents = self._start()
            placement = _placed(spec, self._hosts)
        if placement is None:
            return self.leave_out(spec)
        return self.store(*self.carry_out(spec, placement, agents))

    def lend(self, spec: TrialSpec, busy: Collection[str]) -> tuple[Agents, dict[str, str]] | None:
        """Return the agents and a placement of a trial on hosts that are not busy.

        Agents are started again only if no host is busy. None if the available hosts do not
        suffice.
        """
        agents = self._agents or self._start()
        agents.drain()
        out = {*busy, *agents.lost}
        placement = _placed(spec, [host for host in self._hosts if host.name not in out])
        if placement is None and agents.lost and not busy:
            self._close()
            agents = self._start()
            placement = _placed(spec, self._hosts)
        return None if placement is None else (agents, placement)

    def leave_out(self, spec: TrialSpec) -> TrialOutcome:
        """Store that too few hosts are available for a trial."""
        return self.store(without_result(spec, {}, "not run", self._shortage()))

    def store(self, outcome: TrialOutcome, error: BaseException | None = None) -> TrialOutcome:
        """Store an outcome and show it, or raise the error with which its trial ended."""
        self._store.append(outcome)
        if error is not None:
            raise error
        self._observer.trial_ended(outcome)
        return outcome

    def carry_out(
        self,
        spec: TrialSpec,
        placement: Mapping[str, str],
        agents: Agents,
        name: str = "",
    ) -> tuple[TrialOutcome, BaseException | None]:
        """Run a trial; return its outcome, and the interrupt or the bug that ended it, if any.

        ``name`` goes before the phases that are shown, to tell trials side by side apart.
        """
        observer = self._observer
        start_s = time.monotonic()
        try:
            observer.trial_started(spec)
            with Recorder(self._store, spec, placement, observer) as recorder:
                outcome = run_trial(
                    spec,
                    placement,
                    agents,
                    cores={name: max(1, int(m.cores_usable)) for name, m in self._machines.items()},
                    limits=self._limits,
                    watch=recorder.record,
                    phase=lambda text: observer.phase(f"{name}{text}"),
                    notice=observer.notice,
                )
        except BaseException as error:  # noqa: BLE001 - stored, then raised by `store`
            status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            failure = Failure(type(error).__name__)
            duration_s = time.monotonic() - start_s
            return without_result(spec, placement, status, failure, duration_s), error
        return outcome, None

    def _start(self) -> Agents:
        """Get agents and wait until they have TensorFlow in memory.

        An agent that is not ready in time may have kept out a host that would have been: then start
        again without the late one.

        Raises:
            HostError: no host is left.
        """
        notify = self._observer.phase
        while True:
            hosts = [host for host in self._store.plan.hosts if host.name not in self._out]
            if not hosts:
                raise combined(self._out)
            agents = self._source.start(hosts, self._needed, self._store.path, notify)
            self._agents = agents
            notify("importing TensorFlow")
            ready = agents.await_ready(self._limits.ready_timeout_s)
            self._hosts = [host for host in agents.hosts if host.name in ready]
            late = {name: error for name, error in agents.lost.items() if name not in ready}
            self._keep_out({**agents.missing, **late})
            stand_ins = {host.name for host in hosts} - {host.name for host in agents.hosts}
            if len(ready) == len(agents.hosts) or stand_ins <= self._out.keys():
                break
            self._close()
        self._machines = {name: event.machine for name, event in ready.items()}
        self._store.note_hosts(self._machines)
        if self._store.plan.parallel > 1 and (one := _one_machine(self._machines)):
            self._observer.notice(f"{one} are one machine: trials side by side share its cores")
        return agents

    def _keep_out(self, missing: Mapping[str, HostError]) -> None:
        for name, error in missing.items():
            self._out[name] = error
            self._observer.notice(str(error))

    def _shortage(self) -> Failure:
        """Return the failure of a trial that lacks hosts, or slots on them."""
        if not self._out:  # all hosts are up, but a launched cluster may hold fewer ports
            slots = sum(host.slots or 0 for host in self._hosts)
            cause = f"the running cluster has room for {slots} tasks only"
            return Failure(f"{cause}; run `dnnbench stop`, then `dnnbench launch`")
        order = {host.name: number for number, host in enumerate(self._store.plan.hosts)}
        error = combined(dict(sorted(self._out.items(), key=lambda item: order[item[0]])))
        return Failure(error.problem, host=error.where)

    def _close(self) -> None:
        agents, self._agents = self._agents, None
        if agents is not None:
            agents.close()


def _placed(spec: TrialSpec, hosts: list[Host]) -> dict[str, str] | None:
    """Return the placement of a trial: task -> host; None if the hosts have too few slots."""
    try:
        return place(spec.nodes, spec.parameter_servers, hosts)
    except ConfigError:
        return None


def _one_machine(machines: Mapping[str, MachineSnapshot]) -> str:
    """Name the first hosts that are one machine; empty if each is one of its own."""
    hosts: dict[str, list[str]] = {}
    for name, machine in machines.items():
        hosts.setdefault(machine.boot_id or name, []).append(name)
    return next((", ".join(names) for names in hosts.values() if len(names) > 1), "")


def _refuse_to_go_on_failing(outcomes: list[TrialOutcome]) -> None:
    """Stop a sweep after several failures in a row."""
    last = [outcome for outcome in outcomes if outcome.status != "not run"]
    last = last[-MAX_FAILURES_IN_A_ROW:]
    if len(last) < MAX_FAILURES_IN_A_ROW or any(
        outcome.status in ("ok", "degraded", "diverged") for outcome in last
    ):
        return
    failure = last[-1].failure
    raise TrialError(
        f"{MAX_FAILURES_IN_A_ROW} trials in a row failed, the last with: "
        f"{failure.cause if failure else 'no cause known'}",
        where=last[-1].order.id,
        remedy="fix the cause, then resume with `dnnbench run --resume`",
    )


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that they tear down too, unless they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    # What was ignored at the start stays so: nohup protects from the end of the terminal.
    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
