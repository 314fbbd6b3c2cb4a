"""Run small trials side by side, each on hosts of its own."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.sweep.trial_run import TEAR_DOWN_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from dnnbench.sweep.agents import Agents
    from dnnbench.sweep.cluster import Cluster
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

_SLICE_S: Final = 1.0
"""Longest single wait for a trial, which ends by its own deadlines."""


class _Running(NamedTuple):
    """A trial in a thread of its own.

    Attributes:
        agents: those on its hosts.
        give_back: returns them.
    """

    agents: Agents
    hosts: frozenset[str]
    give_back: ExitStack


class _Ended(NamedTuple):
    outcome: TrialOutcome
    error: BaseException | None


def run_beside(cluster: Cluster) -> Generator[TrialOutcome, None, None]:
    """Run trials, as many at once as the plan allows, and yield their outcomes once stored.

    They start in the order given: a trial that needs more hosts than are free waits for them, and
    so do those after it. What happens to one does not touch the others, whose hosts are not its
    own. This thread alone stores outcomes. If it is interrupted or closed, all trials are; past a
    limit, those that run are awaited.
    """
    agenda = cluster.agenda
    running: dict[str, _Running] = {}
    ended: SimpleQueue[_Ended] = SimpleQueue()
    try:
        while agenda.first or running:
            while (spec := agenda.first) and len(running) < cluster.parallel:
                if reason := agenda.reason_to_skip(spec):
                    yield cluster.leave_out(agenda.take(), reason)
                    continue
                if not cluster.limits.admits(spec):
                    agenda.clear()
                    break
                busy = frozenset().union(*(trial.hosts for trial in running.values()))
                lent = cluster.lend(spec, busy)
                if lent is None:
                    break
                running[spec.id] = _start(cluster, agenda.take(), *lent, ended)
            if not running:
                if agenda.first:  # every host was free, and too few are up
                    yield cluster.leave_out(agenda.take(), cluster.shortage())
                continue
            with suppress(Empty):
                last = ended.get(timeout=_SLICE_S)
                yield _finish(cluster, running, last)
    finally:
        for trial in running.values():
            trial.agents.interrupt()
        with suppress(Empty):  # a trial that is stuck ends with its agents
            while running:
                last = ended.get(timeout=2 * TEAR_DOWN_TIMEOUT_S)
                with suppress(Exception, KeyboardInterrupt):  # the first one is being raised
                    _finish(cluster, running, last)


def _start(
    cluster: Cluster,
    spec: TrialSpec,
    agents: Agents,
    placement: Mapping[str, str],
    ended: SimpleQueue[_Ended],
) -> _Running:
    hosts = frozenset(placement.values())
    give_back = ExitStack()
    share = give_back.enter_context(agents.share(hosts))

    def run() -> None:
        ended.put(_Ended(*cluster.carry_out(spec, placement, share, f"{spec.id}: ")))

    threading.Thread(target=run, name=spec.id, daemon=True).start()
    return _Running(share, hosts, give_back)


def _finish(cluster: Cluster, running: dict[str, _Running], ended: _Ended) -> TrialOutcome:
    """Give a trial's hosts back and store its outcome; raise its interrupt or bug."""
    running.pop(ended.outcome.order.id).give_back.close()
    return cluster.store(ended.outcome, ended.error)
