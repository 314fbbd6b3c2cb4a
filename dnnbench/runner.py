"""Runs a plan: one trial after the other, each outcome stored before the next one starts."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from dnnbench.environment import load_average, snapshot, usable_cores
from dnnbench.errors import HostError, TrialError
from dnnbench.events import Log
from dnnbench.launcher import Launcher, without_result
from dnnbench.transport.local import LocalAgent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from typing_extensions import Self

    from dnnbench.events import AnyEvent
    from dnnbench.plan import Plan
    from dnnbench.store import SweepStore
    from dnnbench.transport.base import AgentHandle, Inbox
    from dnnbench.trial import Status, TrialOrder, TrialOutcome

MAX_FAILURES_IN_A_ROW = 3


class Observer(Protocol):
    """Is told how a sweep goes, to show it."""

    def sweep_started(self, plan: Plan, pending: list[TrialOrder]) -> None:
        """Say which trials of the plan are still to run."""

    def phase(self, text: str) -> None:
        """Say what is waited for."""

    def trial_started(self, order: TrialOrder) -> None:
        """Say which trial runs now."""

    def event(self, order: TrialOrder, event: AnyEvent) -> None:
        """Pass on an event of the running trial."""

    def trial_ended(self, outcome: TrialOutcome) -> None:
        """Say what came of it; it is stored by now."""


def run_sweep(store: SweepStore, observer: Observer) -> list[TrialOutcome]:
    """Run every pending trial of a sweep, in the plan's order.

    Returns:
        The outcomes of these trials, failed ones included.

    Raises:
        HostError: an agent could not be started or kept.
        TrialError: several trials in a row failed; the others are left to ``run --resume``.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP, after the tear-down; what is finished is
            stored.
    """
    with store.locked(), _signals_interrupt():
        if store.has_outcomes() or store.sessions()[-1].load_after is not None:
            store.begin_session(snapshot())  # resumed; the first session stands since the creation
        pending = store.pending()
        observer.sweep_started(store.plan, pending)
        outcomes: list[TrialOutcome] = []
        try:
            with _Cluster(store, observer) as cluster:
                for order in pending:
                    outcomes.append(cluster.run(order))
                    _refuse_to_go_on_failing(outcomes)
        finally:
            store.end_session(load_average())
        return outcomes


class _Cluster:
    """The agents that a sweep's trials run on; started at the first trial, again after a loss."""

    def __init__(self, store: SweepStore, observer: Observer) -> None:
        self._store = store
        self._observer = observer
        self._agents: dict[str, AgentHandle] = {}
        self._launcher: Launcher | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self, order: TrialOrder) -> TrialOutcome:
        """Run one trial and store its outcome."""
        launcher = self._launcher or self._start()
        placement = self._store.plan.placement(order)
        cores = dict.fromkeys(self._agents, max(1, int(usable_cores())))
        observer = self._observer
        observer.trial_started(order)
        start_s = time.monotonic()

        def stopped(status: Status, cause: str) -> TrialOutcome:
            duration_s = time.monotonic() - start_s
            return without_result(order, placement, status, cause, duration_s)

        with _Recorder(self._store, order, observer) as recorder:
            try:
                outcome = launcher.run(order, placement, cores, recorder.record, observer.phase)
            except HostError as error:
                # The next trial starts with new agents.
                self._close()
                outcome = stopped("failed", str(error))
            except BaseException as error:
                status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                outcome = stopped(status, type(error).__name__)
                self._store.append(outcome)
                raise
        self._store.append(outcome)
        observer.trial_ended(outcome)
        return outcome

    def _start(self) -> Launcher:
        """Start an agent a host and wait until all have TensorFlow in memory."""
        self._observer.phase("importing TensorFlow")
        inbox: Inbox = queue.SimpleQueue()
        hosts = self._store.plan.hosts
        for host in hosts:
            log_file = self._store.path / f"agent-{host.name}.log"
            self._agents[host.name] = LocalAgent(host.name, log_file, inbox)
        self._launcher = Launcher(self._agents, hosts, inbox, self._store.resolved.config.run)
        self._launcher.await_agents()
        return self._launcher

    def _close(self) -> None:
        for agent in self._agents.values():
            agent.close()
        self._agents.clear()
        self._launcher = None


class _Recorder:
    """Keeps what a trial's roles say: events in one file, log lines in one a task."""

    def __init__(self, store: SweepStore, order: TrialOrder, observer: Observer) -> None:
        self._order = order
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
            self._logs[event.task].write(event.line + "\n")
            self._logs[event.task].flush()
            return
        self._events.write(event)
        self._observer.event(self._order, event)


def _refuse_to_go_on_failing(outcomes: list[TrialOutcome]) -> None:
    """Stop a sweep in which nothing works any more."""
    last = outcomes[-MAX_FAILURES_IN_A_ROW:]
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
def _signals_interrupt() -> Iterator[None]:
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
