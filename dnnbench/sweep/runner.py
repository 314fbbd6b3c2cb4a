"""Run a plan: start agents, run trials, and store each outcome as it comes."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

from dnnbench.sweep.agenda import Agenda
from dnnbench.sweep.beside import run_beside
from dnnbench.sweep.cluster import Cluster
from dnnbench.sweep.limits import Limits
from dnnbench.trial.machine import load_average, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from dnnbench.sweep.agents import AgentSource
    from dnnbench.sweep.limits import Limit
    from dnnbench.sweep.observer import Observer
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.outcome import TrialOutcome


def run_sweep(
    store: SweepStore,
    observer: Observer,
    source: AgentSource,
    limits: Sequence[Limit] = (),
    then: Callable[[], SweepStore | None] = lambda: None,
) -> list[TrialOutcome]:
    """Run every pending trial of a sweep, in the plan's order, side by side if it says so.

    Trials that need more hosts than are available are not run; they stay pending. A trial that
    failed is run again if the policy of `dnnbench.sweep.agenda` says so; those of a cell that has
    become void are skipped.

    Args:
        store: the sweep.
        observer: is told of its progress.
        source: of the agents that the trials run on.
        limits: a trial that would end past one is not started, and nor is any after it.
        then: called after its last trial; returns a sweep that goes on with the same agents, if
            any.

    Returns:
        The last outcome of each trial, including failed ones and those that were not run.

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
        outcomes: dict[str, TrialOutcome] = {}
        allowed = Limits(limits, store.plan.estimated_s)
        config = store.resolved.config
        agenda = Agenda(
            pending,
            repeats=config.sweep.repeats,
            retries=config.run.retries,
            void_after=store.plan.void_after,
            notice=observer.notice,
        )
        try:
            cluster.serve(store, pending, agenda, allowed)
            run = run_beside if store.plan.parallel > 1 else _in_turn
            with contextlib.closing(run(cluster)) as trials:
                for outcome in trials:
                    outcomes[outcome.order.id] = outcome
                    allowed.note(outcome)
                    agenda.note(outcome)
            if allowed.refusal:
                raise allowed.refusal
        finally:
            store.end_session(load_average())
        return list(outcomes.values())


def _in_turn(cluster: Cluster) -> Generator[TrialOutcome, None, None]:
    """Run one trial after the other."""
    agenda = cluster.agenda
    while spec := agenda.first:
        if reason := agenda.reason_to_skip(spec):
            yield cluster.leave_out(agenda.take(), reason)
        elif cluster.limits.admits(spec):
            yield cluster.run(agenda.take())
        else:
            return


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
