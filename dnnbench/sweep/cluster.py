"""The agents of a sweep, and the trials that run on them: one after the other, or side by side."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError, HostError
from dnnbench.sweep.agents import combined
from dnnbench.sweep.outcome import without_result
from dnnbench.sweep.placement import place
from dnnbench.sweep.recorder import Recorder
from dnnbench.sweep.trial_run import run_trial
from dnnbench.trial.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from typing_extensions import Self

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agenda import Agenda
    from dnnbench.sweep.agents import Agents, AgentSource
    from dnnbench.sweep.limits import Limits
    from dnnbench.sweep.observer import Observer
    from dnnbench.sweep.placement import Host
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.machine import MachineSnapshot
    from dnnbench.trial.outcome import Status, TrialOutcome
    from dnnbench.trial.spec import TrialSpec


class Cluster:
    """The agents of a sweep; started for the first trial, and again after a loss.

    A host that is down at a start stays out to the end, so that it is waited for only once.

    Attributes:
        agenda: the trials to run.
        parallel: trials that may run at once.
        limits: to ask before each trial whether it may start.
    """

    agenda: Agenda
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

    def serve(
        self, store: SweepStore, pending: list[TrialSpec], agenda: Agenda, limits: Limits
    ) -> None:
        """Turn to a sweep, whose hosts may be those of the one before."""
        self.agenda = agenda
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
            return self.leave_out(spec, self.shortage())
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

    def leave_out(self, spec: TrialSpec, reason: Failure) -> TrialOutcome:
        """Store that a trial is not run, and why.

        If it was to be run again after a failure, that stands: the failure is returned.
        """
        if earlier := self.agenda.earlier_failure(spec):
            return earlier
        return self.store(without_result(spec, {}, "not run", reason))

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

    def shortage(self) -> Failure:
        """Return the failure of a trial that lacks hosts, or slots on them."""
        if not self._out:  # all hosts are up, but a launched cluster may hold fewer ports
            slots = sum(host.slots or 0 for host in self._hosts)
            cause = f"the running cluster has room for {slots} tasks only"
            return Failure(f"{cause}; run `dnnbench stop`, then `dnnbench launch`")
        order = {host.name: number for number, host in enumerate(self._store.plan.hosts)}
        error = combined(dict(sorted(self._out.items(), key=lambda item: order[item[0]])))
        return Failure(error.problem, host=error.where, kind=error.kind)

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
