"""Statistics of repeated trials: pure functions on plain numbers.

Own code, because ``report`` has to answer at once and SciPy or NumPy would take longer to import
than everything else together. The tests check it against published tables and against SciPy.

Sources: the t interval of a mean, Student (1908). Unequal variances, Welch (1947), with the
degrees of freedom of Satterthwaite (1946). Ratios of times are averaged as logarithms, that is by
the geometric mean, so that "a over b" and "b over a" agree (Fleming and Wallace, CACM 29(3),
1986). The incomplete beta function by its continued fraction (Abramowitz and Stegun, 26.5.8) with
the algorithm of Lentz.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONFIDENCE = 0.95
MOST_REPEATS = 100
"""Repeats beyond which a difference counts as too small to resolve."""

Method = Literal["paired", "welch"]

_TINY = 1e-300
_LARGEST_LOG = 600.0  # e to that power, in percent, is still a float
_FRACTION_TERMS = 10_000


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mean of independent values with its confidence interval.

    Attributes:
        n: values averaged.
        half_width: of the interval; None for ``n = 1``, where there is none.
        minimum: smallest value averaged.
        maximum: largest value averaged.
    """

    mean: float
    n: int
    half_width: float | None
    minimum: float
    maximum: float


class RatioEstimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Excess of one set of values over another in percent, with its confidence interval.

    Attributes:
        percent: 100 x (geometric mean ratio - 1).
        low_percent: lower end of the interval.
        high_percent: upper end.
        method: ``paired``: t interval of the log-ratios of pairs; ``welch``: Welch's interval of
            the difference of mean logarithms.
        n: number of values in the numerator and in the denominator; the number of pairs, twice, if
            paired.
    """

    percent: float
    low_percent: float
    high_percent: float
    method: Method
    n: tuple[int, int]


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Difference of two means with its confidence interval; other fields as in `RatioEstimate`."""

    mean: float
    low: float
    high: float
    method: Method
    n: tuple[int, int]


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; values must not be empty."""
    return math.fsum(values) / len(values)


def sample_sd(values: Sequence[float]) -> float:
    """Return the sample standard deviation (n - 1); at least two values."""
    center = mean(values)
    return math.sqrt(math.fsum((v - center) ** 2 for v in values) / (len(values) - 1))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the nearest-rank percentile: the smallest value that ``percent`` % do not exceed.

    It is always one of the values, as is ``Staleness.percentile``.
    """
    ordered = sorted(values)
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(rank, 1) - 1]


def merge_counts(histograms: Iterable[Sequence[int]]) -> list[int]:
    """Add histograms whose entry ``s`` counts the value ``s``; lengths may differ."""
    return [sum(counts) for counts in zip_longest(*histograms, fillvalue=0)]


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b) for 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # the fraction converges fast on the other side only
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_front) / a / _beta_fraction(a, b, x)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)), the denominator of I_x(a, b), by Lentz' algorithm."""
    value = numerator = 1.0
    denominator = 0.0
    for term in range(1, _FRACTION_TERMS):
        m, odd = divmod(term, 2)
        if odd:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1.0 / (1.0 + d * denominator or _TINY)
        numerator = 1.0 + d / numerator or _TINY
        change = numerator * denominator
        value *= change
        if abs(change - 1.0) < 1e-15:  # noqa: PLR2004  # a few units in the last place
            break
    return value


@lru_cache(maxsize=1024)
def student_t_quantile(probability: float, degrees: float) -> float:
    """Return the t that a Student variable does not exceed with this probability.

    Degrees of freedom need not be whole. Raises ValueError outside 0 < probability < 1.
    """
    if not (0.0 < probability < 1.0 and degrees > 0.0):
        raise ValueError(f"no t quantile for {probability=}, {degrees=}")
    if probability < 0.5:  # noqa: PLR2004  # the median
        return -student_t_quantile(1.0 - probability, degrees)
    half = (degrees + 1.0) / 2.0
    peak = math.exp(math.lgamma(half) - math.lgamma(degrees / 2.0)) / math.sqrt(degrees * math.pi)
    t, step = 0.0, math.inf
    # Newton's method from the median converges from below. Each step doubles the number of correct
    # digits, so after a step of 1e-8 there is nothing left to gain.
    while step > 1e-8 * t:
        tail = incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + t * t)) / 2.0
        density = peak * (1.0 + t * t / degrees) ** -half
        step = (tail - (1.0 - probability)) / density
        t += step
    return t


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return the mean of independent values with its 95 % t interval; None for no values."""
    n = len(values)
    if not n:
        return None
    half_width = None
    if n > 1:
        half_width = _t(n - 1) * sample_sd(values) / math.sqrt(n)
    return Estimate(mean(values), n, half_width, min(values), max(values))


def ratio_percent(
    above: Mapping[int, float], below: Mapping[int, float], *, paired: bool
) -> RatioEstimate | None:
    """Estimate by how many percent ``above`` exceeds ``below``, with its 95 % interval.

    Args:
        above: pair number -> positive value.
        below: likewise; equal numbers belong together.
        paired: whether values with the same number share conditions. Two or more such pairs get the
            paired interval; everything else gets Welch's.

    Returns:
        None if neither method has two values to estimate a spread from, or a value is not positive:
        a ratio of single values cannot be told from chance.
    """
    if not (above and below) or min(*above.values(), *below.values()) <= 0.0:
        return None
    logs = ({i: math.log(v) for i, v in side.items()} for side in (above, below))
    found = difference(*logs, paired=paired)
    if found is None:
        return None
    ends = (found.mean, found.low, found.high)
    middle, low, high = (math.expm1(min(x, _LARGEST_LOG)) * 100.0 for x in ends)
    return RatioEstimate(middle, low, high, found.method, found.n)


def difference(
    above: Mapping[int, float], below: Mapping[int, float], *, paired: bool
) -> Difference | None:
    """Estimate ``above`` - ``below`` with its 95 % interval; arguments as in `ratio_percent`.

    Returns:
        None if neither method has two values to estimate a spread from.
    """
    pairs = sorted(above.keys() & below.keys()) if paired else []
    if len(pairs) > 1:
        values = [above[i] - below[i] for i in pairs]
        n = len(pairs)
        return _with_interval(mean(values), _error(values), n - 1, "paired", (n, n))
    sizes = len(above), len(below)
    if min(sizes) < 2:  # noqa: PLR2004  # a spread needs two
        return None
    values_above, values_below = list(above.values()), list(below.values())
    center = mean(values_above) - mean(values_below)
    error_above, error_below = _error(values_above), _error(values_below)
    error = math.hypot(error_above, error_below)
    if error == 0.0:  # no spread at all: the degrees of freedom do not matter
        return _with_interval(center, 0.0, 1, "welch", sizes)
    share_above, share_below = (error_above / error) ** 4, (error_below / error) ** 4
    degrees = 1.0 / (share_above / (sizes[0] - 1) + share_below / (sizes[1] - 1))
    return _with_interval(center, error, degrees, "welch", sizes)


def repeats_for(half_width: float, wanted: float, method: Method, n: tuple[int, int]) -> int | None:
    """Return the repeats per cell at which an interval would be as narrow as wanted.

    The spread between trials is assumed to stay what it was. For Welch's interval, the degrees of
    freedom are those of equal variances.

    Args:
        half_width: of the interval, now.
        wanted: half-width to reach, in the same unit.
        method: of the interval, as in `RatioEstimate`.
        n: trials on either side, now.

    Returns:
        None if it takes more than `MOST_REPEATS`.
    """
    sides = 1 if method == "paired" else 2
    now = 2.0 / (1.0 / n[0] + 1.0 / n[1])
    spread = half_width / _t(sides * (now - 1.0)) * math.sqrt(now)
    reached = (
        count
        for count in range(2, MOST_REPEATS + 1)
        if _t(sides * (count - 1)) * spread / math.sqrt(count) <= wanted
    )
    return next(reached, None)


def _t(degrees: float) -> float:
    return student_t_quantile((1.0 + CONFIDENCE) / 2.0, degrees)


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return sample_sd(values) / math.sqrt(len(values))


def _with_interval(
    center: float, error: float, degrees: float, method: Method, n: tuple[int, int]
) -> Difference:
    reach = _t(degrees) * error
    return Difference(center, center - reach, center + reach, method, n)
