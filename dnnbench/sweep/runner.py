"""Runs a plan: one trial after the other, each outcome stored before the next one starts."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from dnnbench.errors import ConfigError, HostError, TrialError, together
from dnnbench.sweep.launcher import Launcher
from dnnbench.sweep.outcome import without_result
from dnnbench.sweep.placement import place
from dnnbench.trial.machine import load_average, snapshot
from dnnbench.trial.messages import Log
from dnnbench.trial.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from typing_extensions import Self

    from dnnbench.sweep.agents import Crew, CrewSource, Inbox
    from dnnbench.sweep.placement import Host
    from dnnbench.sweep.plan import Plan
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import Status, TrialOutcome
    from dnnbench.trial.spec import TrialSpec

MAX_FAILURES_IN_A_ROW = 3


class Observer(Protocol):
    """Is told how a sweep goes, to show it."""

    def sweep_started(self, plan: Plan, pending: list[TrialSpec]) -> None:
        """Say which trials of the plan are still to run."""

    def phase(self, text: str) -> None:
        """Say what is waited for."""

    def notice(self, text: str) -> None:
        """Say what the user should know of, such as a host that is down."""

    def trial_started(self, order: TrialSpec) -> None:
        """Say which trial runs now."""

    def event(self, order: TrialSpec, event: AnyEvent) -> None:
        """Pass on an event of the running trial."""

    def trial_ended(self, outcome: TrialOutcome) -> None:
        """Say what came of it; it is stored by now. One that was not run was never started."""


def run_sweep(store: SweepStore, observer: Observer, source: CrewSource) -> list[TrialOutcome]:
    """Run every pending trial of a sweep, in the plan's order.

    Trials that need more hosts than are up are not run; they stay pending.

    Args:
        store: of the sweep.
        observer: is told how it goes.
        source: of the agents that the trials run on.

    Returns:
        The outcomes of these trials, failed ones and those that were not run included.

    Raises:
        HostError: no host came up, or none is left.
        TrialError: several trials in a row failed; the others are left to ``run --resume``.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP, after the tear-down; what is finished is
            stored.
    """
    with store.locked(), signals_interrupt():
        if store.has_outcomes() or store.sessions()[-1].load_after is not None:
            store.begin_session(snapshot())  # resumed; the first session stands since the creation
        pending = store.pending()
        observer.sweep_started(store.plan, pending)
        outcomes: list[TrialOutcome] = []
        try:
            with _Cluster(store, observer, source, pending) as cluster:
                for order in pending:
                    outcomes.append(cluster.run(order))
                    _refuse_to_go_on_failing(outcomes)
        finally:
            store.end_session(load_average())
        return outcomes


class _Cluster:
    """The agents that a sweep's trials run on; started at the first trial, again after a loss.

    A host that is found dead at a start stays out to the end, so that it is waited for only once.
    """

    def __init__(
        self,
        store: SweepStore,
        observer: Observer,
        source: CrewSource,
        pending: list[TrialSpec],
    ) -> None:
        self._store = store
        self._observer = observer
        self._source = source
        self._needed = max((order.nodes for order in pending), default=0)
        self._out: dict[str, HostError] = {}
        self._crew: Crew | None = None
        self._launcher: Launcher | None = None
        self._hosts: list[Host] = []
        self._cores: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self, order: TrialSpec) -> TrialOutcome:
        """Run one trial, if the hosts that are up suffice for it, and store its outcome."""
        launcher = self._launcher or self._start()
        placement = _placed(order, self._hosts)
        if placement and launcher.lost().keys() & set(placement.values()):
            self._close()
            launcher = self._start()
            placement = _placed(order, self._hosts)
        if placement is None:
            outcome = without_result(order, {}, "not run", self._shortage())
        else:
            outcome = self._carry_out(order, placement, launcher)
        self._store.append(outcome)
        self._observer.trial_ended(outcome)
        return outcome

    def _carry_out(
        self, order: TrialSpec, placement: Mapping[str, str], launcher: Launcher
    ) -> TrialOutcome:
        """Run a trial; store what an interrupt or a bug leaves of it."""
        observer = self._observer
        start_s = time.monotonic()
        try:
            observer.trial_started(order)
            with _Recorder(self._store, order, placement, observer) as recorder:
                return launcher.run(order, placement, self._cores, recorder.record, observer.phase)
        except BaseException as error:
            status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            failure = Failure(type(error).__name__)
            duration_s = time.monotonic() - start_s
            self._store.append(without_result(order, placement, status, failure, duration_s))
            raise

    def _start(self) -> Launcher:
        """Get agents and wait until they have TensorFlow in memory.

        One that is not ready in the end may have kept out a host that would have been; then all of
        it begins again without that one.

        Raises:
            HostError: no host is left.
        """
        while True:
            hosts = [host for host in self._store.plan.hosts if host.name not in self._out]
            if not hosts:
                raise together(self._out)
            inbox: Inbox = queue.SimpleQueue()
            notify = self._observer.phase
            crew = self._source.start(hosts, self._needed, inbox, self._store.path, notify)
            self._crew = crew
            notify("importing TensorFlow")
            limits = self._store.resolved.config.run
            self._launcher = Launcher(crew.agents, crew.hosts, inbox, limits, crew.data_directory)
            ready = self._launcher.await_agents()
            self._hosts = [host for host in crew.hosts if host.name in ready]
            late = {name: e for name, e in self._launcher.lost().items() if name not in ready}
            self._keep_out({**crew.missing, **late})
            stand_ins = {host.name for host in hosts} - {host.name for host in crew.hosts}
            if len(ready) == len(crew.hosts) or stand_ins <= self._out.keys():
                break
            self._close()
        machines = {name: said.machine for name, said in ready.items()}
        self._store.note_hosts(machines)
        self._cores = {name: max(1, int(m.cores_usable)) for name, m in machines.items()}
        return self._launcher

    def _keep_out(self, missing: Mapping[str, HostError]) -> None:
        for name, error in missing.items():
            self._out[name] = error
            self._observer.notice(str(error))

    def _shortage(self) -> Failure:
        """Name the missing hosts for which a trial cannot run."""
        if not self._out:  # all are there, but a cluster that stands may hold fewer ports
            slots = sum(host.slots or 0 for host in self._hosts)
            cause = f"the cluster that stands there takes {slots} tasks at once"
            return Failure(f"{cause}; run `dnnbench stop`, then `dnnbench launch`")
        order = {host.name: number for number, host in enumerate(self._store.plan.hosts)}
        error = together(dict(sorted(self._out.items(), key=lambda item: order[item[0]])))
        return Failure(error.problem, host=error.where)

    def _close(self) -> None:
        if self._crew is not None:
            self._source.finish(self._crew)
        self._crew = self._launcher = None


def _placed(order: TrialSpec, hosts: list[Host]) -> dict[str, str] | None:
    """Give every task of a trial a host; None if they have too few slots."""
    try:
        return place(order.nodes, order.parameter_servers, hosts)
    except ConfigError:
        return None


class _Recorder:
    """Keeps what a trial's roles say: events in one file, log lines in one a task."""

    def __init__(
        self,
        store: SweepStore,
        order: TrialSpec,
        placement: Mapping[str, str],
        observer: Observer,
    ) -> None:
        self._order = order
        self._placement = placement
        self._observer = observer
        self._events = store.event_writer(order)
        self._log_dir: Path = store.log_dir(order)
        self._logs: dict[str, TextIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        for log in self._logs.values():
            log.close()

    def record(self, event: AnyEvent) -> None:
        """Keep an event, and show it."""
        if isinstance(event, Log):
            if event.task not in self._logs:
                path = self._log_dir / f"{event.task.replace(':', '-')}.log"
                self._logs[event.task] = path.open("a", encoding="utf-8")
            place = f"{event.task} on {self._placement.get(event.task, '?')}"
            self._logs[event.task].write(f"{place} | {event.line}\n")
            self._logs[event.task].flush()
            return
        self._events.write(event)
        self._observer.event(self._order, event)


def _refuse_to_go_on_failing(outcomes: list[TrialOutcome]) -> None:
    """Stop a sweep in which nothing works any more."""
    last = [outcome for outcome in outcomes if outcome.status != "not run"]
    last = last[-MAX_FAILURES_IN_A_ROW:]
    if len(last) < MAX_FAILURES_IN_A_ROW or any(outcome.status == "ok" for outcome in last):
        return
    failure = last[-1].failure
    raise TrialError(
        f"{MAX_FAILURES_IN_A_ROW} trials in a row failed, the last with: "
        f"{failure.cause if failure else 'no cause known'}",
        where=last[-1].order.id,
        remedy="mend the cause, then go on with `dnnbench run --resume`",
    )


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that they tear down too."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
