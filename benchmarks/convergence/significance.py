"""Statistics of the comparisons: rank sums, correction for many tests, medians, the delay's limit.

Sources: Wilcoxon's rank sum with its exact permutation distribution; strata as van Elteren, *On the
Combination of Independent Two Sample Tests of Wilcoxon*, 1960, with equal weights; Holm, *A Simple
Sequentially Rejective Multiple Test Procedure*, 1979.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import combinations, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def rank_test(strata: Iterable[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, bool]:
    """Compare two samples by rank sums, exactly; ties share their mean rank.

    Args:
        strata: pairs of samples that are ranked, and permuted, each pair by itself.

    Returns:
        The two-sided p value (twice the smaller tail), and whether the first sample of the pairs
        has the smaller values.
    """
    sums: Counter[int] = Counter({0: 1})
    observed = 0
    for ours, theirs in strata:
        ranks = _doubled_ranks([*ours, *theirs])
        observed += sum(ranks[: len(ours)])
        possible = Counter(map(sum, combinations(ranks, len(ours))))
        combined: Counter[int] = Counter()
        for (a, ways), (b, more) in product(sums.items(), possible.items()):
            combined[a + b] += ways * more
        sums = combined
    total = sum(sums.values())
    below = sum(ways for value, ways in sums.items() if value <= observed) / total
    above = sum(ways for value, ways in sums.items() if value >= observed) / total
    return min(1.0, 2 * min(below, above)), below < above


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, which is whole even where ties share a mean rank."""
    ordered = sorted(values)
    return [bisect_left(ordered, v) + bisect_right(ordered, v) + 1 for v in values]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for the number of tests, after Holm, in the order given."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def median_or_none(values: Sequence[float | None]) -> float | None:
    """Return the median, a missing value counting as larger than any; None if it is missing."""
    ordered = sorted(math.inf if value is None else value for value in values)
    if not ordered:
        return None
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return None if math.isinf(middle) else middle


def delay_factor(staleness: int) -> float:
    """Return by how much a constant staleness shrinks the largest stable learning rate.

    On a quadratic of curvature h, w[t+1] = w[t] - rate h w[t-staleness] converges if and only if
    rate h < 2 sin(pi / (2 (2 staleness + 1))): the roots of z^(s+1) - z^s + rate h are inside the
    unit circle. Without staleness the limit is 2.
    """
    return math.sin(math.pi / (2 * (2 * staleness + 1)))
