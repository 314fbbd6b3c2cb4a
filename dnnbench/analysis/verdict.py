"""Verdict on a sweep: whether it scales, which protocol to take, what bounds it, what to do next.

Every answer is derived from figures of the `Analysis` alone, so it cannot contradict the tables.
Where the figures do not decide, the answer is None, and the reason stands beside it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from dnnbench.analysis.bound import Bound, find_bound
from dnnbench.analysis.stats import RatioEstimate, repeats_for
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.comparisons import Growth, Overhead

KEPT: Final = 0.9
"""A sweep scales if each worker keeps at least this share of its speed."""
Obstacle = Literal["shared cores", "too few trials", "void", "not learned", "overlap"]
"""Why a question cannot be answered.

``void``: too many repeats of a cell failed.
``not learned``: a trial diverged or did not learn. ``overlap``: the interval reaches across the
limit.
"""
Answer = Literal["yes", "partly", "no"]
StepName = Literal[
    "resume", "predict", "repeat", "more nodes", "more protocols", "own hosts", "price"
]
_MOST_STEPS: Final = 2
_TINY: Final = 1e-300


class Scaling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a protocol scales from the smallest to the largest node count.

    Attributes:
        answer: ``yes``: each worker keeps at least `KEPT` of its speed; ``partly``: it does not,
            but all together do more; ``no``: not even that. None if it cannot be told.
        obstacle: why it cannot.
        growth: of the epoch time, as in the tables.
        ideal_percent: growth if no worker lost speed: 0 for replicated epochs.
        repeats: per cell that would decide, at the spread seen; None if more than the limit, or if
            repeats are not what is missing.
    """

    protocol: ProtocolName
    variation: dict[str, Value]
    from_nodes: int
    to_nodes: int
    answer: Answer | None
    obstacle: Obstacle | None
    growth: RatioEstimate | None
    ideal_percent: float
    repeats: int | None


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Comparison of a protocol with its baseline, both at their largest node count and one setting.

    Attributes:
        faster: the one with the shorter epochs; None if that cannot be told.
        more_accurate: the one with the higher final test accuracy; None likewise.
        better: the one that is ahead in one and not behind in the other; None if that cannot be
            told, or if each is ahead in one.
        obstacle: why neither comparison decides.
        repeats: that would decide which is faster, as in `Scaling`.
    """

    protocol: ProtocolName
    baseline: ProtocolName
    variation: dict[str, Value]
    nodes: int
    faster: ProtocolName | None
    more_accurate: ProtocolName | None
    better: ProtocolName | None
    obstacle: Obstacle | None
    repeats: int | None


class OneProcess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Comparison of each cell's examples/s with those of one process without messages.

    Attributes:
        faster: cells whose interval of the speedup is above 1.
        slower: cells whose interval is below 1.
        unclear: cells of which neither can be told.
    """

    examples_per_s: float
    faster: list[CellKey]
    slower: list[CellKey]
    unclear: list[CellKey]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to do next; the report has the command. ``repeats`` belongs to ``repeat``."""

    name: StepName
    repeats: int | None = None


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answers to a user's questions.

    Attributes:
        scaling: one entry per protocol; empty for a sweep of one node count.
        choices: one entry per protocol with a baseline.
        one_process: None if it was not measured.
        priced: whether seconds of this sweep are those of as many machines; if not, they must not
            be priced.
        bound: None if no trial succeeded.
        steps: what to do next, the most useful first; two only where one process was not measured,
            so that a verdict keeps to a dozen lines.
    """

    scaling: list[Scaling]
    choices: list[Choice]
    one_process: OneProcess | None
    priced: bool
    bound: Bound | None
    steps: list[Step]


def judge(analysis: Analysis) -> Verdict:
    """Answer a user's questions from the figures of a sweep."""
    scaling = [_scaling(analysis, growth) for growth in analysis.growth]
    choices = _choices(analysis)
    measured = [cell for cell in analysis.cells if cell.n]
    priced = bool(measured) and all(cell.own_hosts for cell in measured)
    one_process = _one_process(analysis)
    steps = list(_steps(analysis, scaling, choices, priced=priced))
    return Verdict(
        scaling=scaling,
        choices=choices,
        one_process=one_process,
        priced=priced,
        bound=find_bound(analysis),
        steps=steps[:1] if one_process else steps[:_MOST_STEPS],
    )


def _steps(
    analysis: Analysis, scaling: Sequence[Scaling], choices: Sequence[Choice], *, priced: bool
) -> Iterator[Step]:
    if any(cell.n + cell.diverged < cell.planned for cell in analysis.cells):
        yield Step("resume")
        return
    if not priced and any(cell.n for cell in analysis.cells):
        yield Step("predict")
    wanted = [answer.repeats for answer in scaling] + [choice.repeats for choice in choices]
    needed = [repeats for repeats in wanted if repeats]
    if needed:
        yield Step("repeat", max(needed))
    if not scaling:
        yield Step("more nodes")
    if not choices:
        yield Step("more protocols")
    if not priced:
        yield Step("own hosts")
    if priced and scaling and choices and not needed:
        yield Step("price")


def _scaling(analysis: Analysis, growth: Growth) -> Scaling:
    low, high = ends = [
        analysis.cell(CellKey(nodes, growth.protocol, tuple(growth.variation.items())))
        for nodes in (growth.from_nodes, growth.to_nodes)
    ]
    fewer = low.workers / high.workers
    ideal = fewer if analysis.settings.epoch_definition == "sharded" else 1.0
    limit = math.log(ideal / KEPT)  # of the logarithm of the ratio of epoch times
    measured, repeats = growth.measured, None
    answer: Answer | None = None
    obstacle: Obstacle | None = None
    if any(cell.void for cell in ends):
        obstacle = "void"
    elif measured is None:
        obstacle, repeats = "too few trials", _two_if_planned_one(ends)
    else:
        at_low, at_high = _logs(measured)
        if any(cell.roles_per_core > 1.0 for cell in ends):
            obstacle = "shared cores"
        elif at_high <= limit:
            answer = "yes"
        elif at_low < limit:
            obstacle = "overlap"
            repeats = _repeats(measured, limit)
        else:
            answer = "no" if at_low >= math.log(ideal / fewer) else "partly"
    return Scaling(
        protocol=growth.protocol,
        variation=growth.variation,
        from_nodes=growth.from_nodes,
        to_nodes=growth.to_nodes,
        answer=answer,
        obstacle=obstacle,
        growth=measured,
        ideal_percent=100.0 * (ideal - 1.0),
        repeats=repeats,
    )


def _choices(analysis: Analysis) -> list[Choice]:
    """Compare each protocol with its baseline at the largest node count that both have."""
    largest: dict[CellKey, Overhead] = {}
    for over in analysis.overhead:
        setting = over.key.with_nodes(0)
        if setting not in largest or over.nodes > largest[setting].nodes:
            largest[setting] = over
    return [_choice(analysis, over) for over in largest.values()]


def _choice(analysis: Analysis, over: Overhead) -> Choice:
    name, baseline = over.protocol, over.baseline
    cells = [analysis.cell(over.key.with_protocol(of)) for of in (name, baseline)]
    obstacle: Obstacle | None = None
    repeats, faster, more_accurate, better = None, None, None, None
    if over.measured is not None:
        faster = _larger(baseline, name, over.measured.low_percent, over.measured.high_percent)
    if points := over.accuracy_points:
        more_accurate = _larger(name, baseline, points.low, points.high)
    ahead = {protocol for protocol in (faster, more_accurate) if protocol}
    if any(cell.void for cell in cells):
        obstacle = "void"
    elif any(cell.diverged or cell.not_learned for cell in cells):
        obstacle = "not learned"
    elif over.measured is None:
        obstacle, repeats = "too few trials", _two_if_planned_one(cells)
    elif len(ahead) == 1:
        (better,) = ahead
    elif not ahead:
        obstacle, repeats = "overlap", _repeats(over.measured, 0.0)
    return Choice(
        protocol=name,
        baseline=baseline,
        variation=over.variation,
        nodes=over.nodes,
        faster=faster,
        more_accurate=more_accurate,
        better=better,
        obstacle=obstacle,
        repeats=repeats,
    )


def _larger(
    above: ProtocolName, below: ProtocolName, low: float, high: float
) -> ProtocolName | None:
    """Return which one a difference above - below favors; None if its interval includes 0."""
    return above if low > 0.0 else below if high < 0.0 else None


def _repeats(measured: RatioEstimate, limit: float) -> int | None:
    """Return the repeats that would keep the interval off a limit of the logarithm of the ratio."""
    low, high = _logs(measured)
    wanted = abs(math.log(max(1.0 + measured.percent / 100.0, _TINY)) - limit)
    return repeats_for((high - low) / 2.0, wanted, measured.method, measured.n)


def _logs(ratio: RatioEstimate) -> tuple[float, float]:
    ends = ratio.low_percent, ratio.high_percent
    low, high = (math.log(max(1.0 + end / 100.0, _TINY)) for end in ends)  # -100 % by rounding
    return low, high


def _two_if_planned_one(cells: Sequence[Cell]) -> int | None:
    return 2 if all(cell.planned == 1 for cell in cells) else None


def _one_process(analysis: Analysis) -> OneProcess | None:
    alone = next(
        (c for c in analysis.cells if find_protocol(c.protocol).fixed_nodes == 1 and c.n), None
    )
    if alone is None or alone.examples_per_s is None:
        return None
    found = OneProcess(alone.examples_per_s.mean, faster=[], slower=[], unclear=[])
    for cell in analysis.cells:
        if cell.key == alone.key or not cell.n:
            continue
        speedup = cell.speedup
        if speedup is None or speedup.low <= 1.0 <= speedup.high:
            found.unclear.append(cell.key)
        elif speedup.low > 1.0:
            found.faster.append(cell.key)
        else:
            found.slower.append(cell.key)
    return found
