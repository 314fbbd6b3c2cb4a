"""One case: a sweep, a fault at a moment, and whether every promise held, seen from outside."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.chaos import figures, promises
from benchmarks.chaos.promises import NONE, Promise, blamed, causes, expected_code, wrong_culprit
from benchmarks.chaos.records import Record
from benchmarks.chaos.surroundings import plain
from benchmarks.chaos.sweeps import HangError, Moment, Sweep

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from random import Random

    from benchmarks.chaos.places import Place
    from benchmarks.chaos.strikes import Strike
    from benchmarks.chaos.sweeps import Patience, Wiring

_FIGURES: Final = ("report", "--format", "json")


class Fault(NamedTuple):
    """A kind of fault.

    Attributes:
        name: in the table.
        places: ``local`` and ``hosts``, where it can be injected.
        phases: in which it may strike.
        strike: injects it.
        promise: what it may lead to.
        share: of all faults, in relation to those of the others.
        wire: the outputs of the command.
    """

    name: str
    places: tuple[str, ...]
    phases: tuple[str, ...]
    strike: Callable[[Sweep, Moment, Random], Strike]
    promise: Callable[[Sweep, Strike, Moment], Promise]
    share: float = 1.0
    wire: Callable[[Sweep], AbstractContextManager[Wiring]] = plain


class Case(NamedTuple):
    """A fault that was drawn.

    Attributes:
        number: of the case.
        name: of its directory.
        place: ``local`` or ``hosts``.
        nodes: of each trial.
        rng: for what else is random.
    """

    number: int
    name: str
    fault: Fault
    place: str
    nodes: int
    moment: Moment
    rng: Random


class Findings:
    """What a case finds, as it goes on: the fields of its `Record` that tell what came of it."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.wrong_figures: list[str] = []
        self.left: list[str] = []
        self.results_lost = 0
        self.hang = ""
        self.wrong_culprit = ""
        self.outcome = ""

    def require(self, holds: object, problem: str) -> None:
        """Note a promise that was not kept."""
        if not holds:
            self.broken.append(problem)


def carry_out(case: Case, place: Place, patience: Patience, stop: threading.Event) -> Record:
    """Run a case.

    Raises:
        MissedError: the moment or the target was gone; nothing was injected.
        EarlyEndError: the sweep failed before; likewise.
    """
    start_s = time.monotonic()
    sweep = Sweep(
        place,
        case.name,
        is_on_hosts=case.place == "hosts",
        nodes=case.nodes,
        seed=case.rng.randrange(1 << 31),
        patience=patience,
        stop=stop,
    )
    found = Findings()
    strike: Strike | None = None
    with contextlib.ExitStack() as stack:
        stack.callback(place.clear)
        stack.callback(sweep.kill)
        wiring = stack.enter_context(case.fault.wire(sweep))
        try:
            sweep.start(wiring=wiring)
            sweep.await_moment(case.moment)
            before = sweep.lines()
            strike = case.fault.strike(sweep, case.moment, case.rng)
            stack.callback(strike.heal)
            _judge(case, sweep, strike, before, found)
        except HangError as error:
            found.hang = str(error)
    return Record(
        number=case.number,
        fault=case.fault.name,
        place=case.place,
        moment=str(case.moment),
        target=strike.target if strike else "",
        duration_s=time.monotonic() - start_s,
        **vars(found),
    )


def _judge(case: Case, sweep: Sweep, strike: Strike, before: list[str], found: Findings) -> None:
    """Check what came of a strike, and that the sweep can be completed."""
    code = sweep.end()
    ended = f"exit code {code}: {sweep.last_line}"
    promise = case.fault.promise(sweep, strike, case.moment)
    outcomes = sweep.outcomes()
    names = _names(sweep)
    statuses = {name: outcomes[name]["status"] if name in outcomes else NONE for name in names}
    found.outcome = f"{', '.join(statuses.values()) or NONE}; {ended}"
    _check_statuses(case.moment, promise, statuses, outcomes, found)
    if promise.is_named:
        for outcome in outcomes.values():
            found.wrong_culprit = found.wrong_culprit or wrong_culprit(strike, outcome)
        if not outcomes and code == promises.EXIT_HOST:
            is_named = any(host in sweep.last_line for host in strike.hosts)
            found.require(is_named, f"{strike.target} is not named: {ended}")
    codes = promise.codes or {expected_code(statuses.values())}
    found.require(code in codes, f"expected exit code {_any_of(codes)}; {ended}")
    found.require("Traceback" not in sweep.said and "bug:" not in sweep.said, f"a bug: {ended}")
    _check_kept(sweep, before, found)
    if not promise.lease_s:
        found.left = sweep.place.left(sweep.patience.soon_s)
    strike.heal()
    _check_figures(sweep, found)
    finished = sweep.lines()
    _complete(sweep, names, statuses, found)
    _check_kept(sweep, finished, found)
    if promise.lease_s:
        found.left = sweep.place.left(promise.lease_s + sweep.patience.soon_s)


def _names(sweep: Sweep) -> list[str]:
    try:
        return sweep.trials
    except (OSError, LookupError):  # none was planned yet
        return []


def _check_statuses(
    moment: Moment,
    promise: Promise,
    statuses: dict[str, str],
    outcomes: dict[str, figures.Outcome],
    found: Findings,
) -> None:
    if not statuses:
        found.require(moment.phase == "start", "no sweep was stored")
        return
    struck = list(statuses)[moment.trial]
    for name, status in statuses.items():
        allowed = promise.statuses if name == struck else promise.others
        why = f": {causes(outcomes[name])}" if name in outcomes else ""
        found.require(
            status in allowed,
            f"{name} is {status}, promised {_any_of(allowed)}{why}",
        )
    if struck in outcomes and promise.kinds:
        for _, _, kind in blamed(outcomes[struck]):
            found.require(
                kind in promise.kinds,
                f"kind {kind}, promised {_any_of(promise.kinds)}: {causes(outcomes[struck])}",
            )


def _check_kept(sweep: Sweep, before: list[str], found: Findings) -> None:
    """Count stored outcomes that are gone, or changed."""
    now = set(sweep.lines())
    found.results_lost += sum(line not in now for line in before)


def _check_figures(sweep: Sweep, found: Findings) -> None:
    """Compare stored figures with what is possible, and the report with a recomputation."""
    outcomes = sweep.outcomes()
    found.wrong_figures += figures.wrong_records(sweep)
    if not outcomes:
        return
    code, text = sweep.call(*_FIGURES)
    if code:
        found.broken.append(f"report ended with {code}: {sweep.last_line}")
    else:
        found.wrong_figures += figures.wrong_report(outcomes, text)


def _complete(sweep: Sweep, names: list[str], statuses: dict[str, str], found: Findings) -> None:
    """Resume the sweep, after which every trial is ok."""
    if not names or set(statuses.values()) == {promises.OK}:
        return
    sweep.start("run", "--resume")
    code = sweep.end()
    after = {name: outcome["status"] for name, outcome in sweep.outcomes().items()}
    is_complete = all(after.get(name) == promises.OK for name in names)
    why = "; ".join(map(causes, sweep.outcomes().values()))
    found.require(
        code == 0 and is_complete,
        f"--resume ended with {code}, trials {', '.join(after.values())}: {sweep.last_line} {why}",
    )
    if is_complete:
        found.wrong_figures += figures.wrong_records(sweep)
        code, text = sweep.call(*_FIGURES)
        found.require(code == 0, f"report ended with {code}: {sweep.last_line}")
        if code == 0:
            found.wrong_figures += figures.wrong_report(sweep.outcomes(), text)


def _any_of(values: object) -> str:
    return " or ".join(sorted(map(str, values)))  # type: ignore[call-overload]
