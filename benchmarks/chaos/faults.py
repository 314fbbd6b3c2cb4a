"""The table of faults: where, when and how each is injected, and what is promised then.

The promises are those of docs/reliability.md; a fault that needs a new one needs it there first.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from benchmarks.chaos import records, strikes, surroundings
from benchmarks.chaos.cases import Fault
from benchmarks.chaos.promises import (
    DEGRADED,
    EXIT_HOST,
    EXIT_INTERRUPTED,
    EXIT_OUTPUT_CLOSED,
    EXIT_RESULTS,
    EXIT_TRIAL,
    FAILED,
    INTERRUPTED,
    LEASE_S,
    MARGIN_S,
    NONE,
    NOT_RUN,
    OK,
    Promise,
    statuses_without,
)
from benchmarks.chaos.strikes import Strike, by_signal, task_of
from benchmarks.chaos.sweeps import Moment, Sweep

if TYPE_CHECKING:
    from random import Random

LOCAL: Final = ("local",)
HOSTS: Final = ("hosts",)
BOTH: Final = (*LOCAL, *HOSTS)
TRIAL: Final = ("set-up", "training", "training", "training", "end")
"""Phases of a trial; most faults strike in the longest one."""
ANY: Final = ("start", *TRIAL)
SIGKILL, SIGSTOP = signal.SIGKILL, signal.SIGSTOP


Promises = Callable[[Sweep, Strike, Moment], Promise]


def _loss_of_tasks(*kinds: str | None) -> Promises:
    """Return the promise at the loss of a role."""

    def promise(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
        line = sweep.timeline(moment.trial)
        return Promise(statuses_without(strike.tasks, strike.at_s, line), kinds)

    return promise


def _lost_and_restarted(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise at the loss of a role that may be started again once."""
    promise = _loss_of_tasks("crashed")(sweep, strike, moment)
    line = sweep.timeline(moment.trial)
    is_measured = line.go_s - MARGIN_S < strike.at_s < max(line.trained_s.values()) + MARGIN_S
    return promise._replace(statuses={*promise.statuses, DEGRADED}) if is_measured else promise


def _loss_of_host(*kinds: str | None, lease_s: float = 0.0) -> Promises:
    """Return the promise at the loss of an agent, with all that is on its host."""

    def promise(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
        if moment.phase == "start":
            codes = {0, EXIT_HOST, EXIT_TRIAL}
            anything = {OK, DEGRADED, FAILED, NOT_RUN, NONE}
            return Promise(anything, kinds, anything, codes, lease_s)
        line = sweep.timeline(moment.trial)
        statuses = statuses_without(strike.tasks, strike.at_s, line)
        return Promise(statuses, kinds, {OK}, lease_s=lease_s)

    return promise


def _isolated(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a host that stays unreachable: later trials lack it."""
    found = _loss_of_host("ssh-unreachable", "disconnected", "stalled", lease_s=LEASE_S)
    promise = found(sweep, strike, moment)
    return promise._replace(others={OK, NOT_RUN, NONE}, codes={EXIT_HOST, EXIT_TRIAL})


def _hung_keeper(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a keeper that hangs: it keeps its host, too."""
    promise = _loss_of_host("disconnected", "stalled", lease_s=LEASE_S)(sweep, strike, moment)
    return promise._replace(others={OK, NOT_RUN})


def _unharmed(_sweep: Sweep, _strike: Strike, _moment: Moment) -> Promise:
    """Promise that nothing comes of it."""
    return Promise({OK})


def _hung_session(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a session that hangs, whose process ends once it may run again."""
    return _unharmed(sweep, strike, moment)._replace(lease_s=LEASE_S)


def _interrupted(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a command that is told to end."""
    statuses, others = {INTERRUPTED, NONE}, {OK} if moment.trial else {NONE}
    if strike.at_s > sweep.timeline(moment.trial).end_s - MARGIN_S:  # the next one may have begun
        statuses, others = statuses | {OK}, others | {INTERRUPTED}
    return Promise(statuses, (), others, {EXIT_INTERRUPTED})


def _cut_off(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a lost connection: it comes back, once there is a keeper."""
    if moment.phase == "start":
        return _loss_of_host("disconnected", "ssh-unreachable")(sweep, strike, moment)
    return _unharmed(sweep, strike, moment)


def _killed(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a controller that is killed: nothing outlives it for long."""
    promise = _interrupted(sweep, strike, moment)
    lease_s = LEASE_S if sweep.is_on_hosts else 0.0
    statuses = {*promise.statuses} - {INTERRUPTED}
    return promise._replace(statuses=statuses, codes={-SIGKILL}, lease_s=lease_s)


def _limited(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a role that gets no more memory: it may do without.

    A thread that could not be started may have lacked something else, so that has no kind.
    """
    promise = _loss_of_tasks("out-of-memory", "crashed", None)(sweep, strike, moment)
    return promise._replace(statuses={*promise.statuses, OK, FAILED})


def _full_results(_sweep: Sweep, _strike: Strike, _moment: Moment) -> Promise:
    """Return the promise for results that cannot be stored."""
    stored = {OK, FAILED, INTERRUPTED, NONE}
    return Promise(stored, (), stored, {EXIT_RESULTS}, is_named=False)


def _full_host(sweep: Sweep, strike: Strike, moment: Moment) -> Promise:
    """Return the promise for a host without space: nothing is written there during a trial."""
    if moment.phase == "start":
        anything = {OK, FAILED, NONE}
        return Promise(anything, ("disk-full",), anything, {0, EXIT_HOST, EXIT_TRIAL})
    return _unharmed(sweep, strike, moment)


def _damaged_data(sweep: Sweep, _strike: Strike, _moment: Moment) -> Promise:
    """Return the promise for data that are damaged: a trial has the right ones, or none."""
    found = {OK, FAILED, NONE}
    codes = {0, EXIT_RESULTS, EXIT_HOST, EXIT_TRIAL}
    return Promise(found, ("data",), found, codes if not sweep.outcomes() else ())


def _unread(_sweep: Sweep, _strike: Strike, _moment: Moment) -> Promise:
    """Return the promise for outputs that nobody reads: the results are there all the same."""
    return Promise({OK}, codes={EXIT_OUTPUT_CLOSED})


def _nothing(_sweep: Sweep, _moment: Moment, _rng: Random) -> Strike:
    """Inject nothing: the suite itself must not disturb a sweep, nor find fault with it."""
    return Strike(time.time(), "nothing", frozenset(), frozenset())


CONTROL: Final = Fault(records.CONTROL, BOTH, ("training",), _nothing, _unharmed)
FAULTS: Final = (
    *(
        Fault(
            f"{signal.Signals(number).name} of {article} {name}",
            BOTH,
            TRIAL,
            by_signal(number, task_of(job)),
            _loss_of_tasks(kind),
            share=1.5,
        )
        for article, name, job in (("a", "worker", "worker"), ("a", "parameter server", "ps"))
        for number, kind in ((SIGKILL, "crashed"), (SIGSTOP, "stalled"))
    ),
    Fault(
        "SIGKILL of a parameter server, to be restarted",
        BOTH,
        TRIAL,
        by_signal(SIGKILL, task_of("ps")),
        _lost_and_restarted,
        wire=surroundings.restarting,
    ),
    Fault(
        "SIGKILL of an agent",
        BOTH,
        ANY,
        by_signal(SIGKILL, strikes.agent),
        _loss_of_host("crashed"),
    ),
    Fault(
        "SIGSTOP of an agent",
        BOTH,
        TRIAL,
        by_signal(SIGSTOP, strikes.agent),
        _loss_of_host("stalled"),
    ),
    Fault(
        "SIGKILL of a keeper",
        HOSTS,
        ANY,
        by_signal(SIGKILL, strikes.keeper),
        _loss_of_host("disconnected"),
    ),
    Fault(
        "SIGSTOP of a keeper",
        HOSTS,
        TRIAL,
        by_signal(SIGSTOP, strikes.keeper),
        _hung_keeper,
        share=0.5,
    ),
    Fault("SIGKILL of an SSH session", HOSTS, ANY, by_signal(SIGKILL, strikes.session), _cut_off),
    Fault(
        "SIGSTOP of an SSH session",
        HOSTS,
        TRIAL,
        by_signal(SIGSTOP, strikes.session),
        _hung_session,
        share=0.5,
    ),
    Fault("SIGKILL of the controller", BOTH, ANY, by_signal(SIGKILL, strikes.controller), _killed),
    Fault("SIGSTOP of the controller, then SIGCONT", BOTH, TRIAL, strikes.paused, _unharmed),
    *(
        Fault(
            f"{signal.Signals(number).name} of the controller",
            BOTH,
            ANY,
            by_signal(number, strikes.controller),
            _interrupted,
            share=0.7,
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ),
    Fault(
        "closed terminal", BOTH, ANY, surroundings.hang_up, _interrupted, wire=surroundings.terminal
    ),
    Fault(
        "closed terminal under nohup",
        BOTH,
        ANY,
        surroundings.hang_up,
        _unharmed,
        wire=surroundings.nohup,
        share=0.7,
    ),
    Fault("closed pipe", BOTH, ANY, surroundings.hang_up, _unread, wire=surroundings.pipe),
    Fault("memory limit of a role", BOTH, TRIAL, strikes.memory_limit, _limited),
    Fault("partition of a host", HOSTS, TRIAL, surroundings.partition, _isolated, share=0.7),
    Fault(
        "partition of a host for seconds",
        HOSTS,
        TRIAL,
        surroundings.short_partition,
        _unharmed,
        share=0.7,
    ),
    Fault("packet loss at a host", HOSTS, TRIAL, surroundings.packet_loss, _unharmed),
    Fault("reset SSH connections", HOSTS, TRIAL, surroundings.dropped_connections, _unharmed),
    Fault(
        "data file damaged",
        LOCAL,
        ANY,
        surroundings.damaged_data,
        _damaged_data,
        wire=surroundings.own_data,
    ),
    Fault(
        "full disk of the results",
        BOTH,
        ANY,
        surroundings.full_results,
        _full_results,
        wire=surroundings.on_memory,
    ),
    Fault("full disk of a host", HOSTS, ANY, surroundings.full_host, _full_host),
)
"""Every kind of fault in a running sweep."""

QUICK: Final = (
    *("SIGKILL of a worker", "SIGKILL of a parameter server", "SIGKILL of an agent"),
    *("SIGKILL of an SSH session", "SIGTERM", "closed pipe", "data file damaged"),
    *("result file", "outcome"),
)
"""Texts in the names of those that take the least time."""
