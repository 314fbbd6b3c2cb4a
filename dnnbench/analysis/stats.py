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

_TINY = 1e-300
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
    method: Literal["paired", "welch"]
    n: tuple[int, int]


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; values must not be empty."""
    return math.fsum(values) / len(values)


def sample_sd(values: Sequence[float]) -> float:
    """Return the sample standard deviation (n - 1); at least two values."""
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


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
        t = student_t_quantile((1.0 + CONFIDENCE) / 2.0, n - 1)
        half_width = t * sample_sd(values) / math.sqrt(n)
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
    pairs = sorted(above.keys() & below.keys()) if paired else []
    if len(pairs) > 1:
        logs = [math.log(above[i] / below[i]) for i in pairs]
        centre, error = mean(logs), _error(logs)
        return _as_percent(centre, error, len(logs) - 1, "paired", (len(pairs), len(pairs)))
    n = len(above), len(below)
    if min(n) < 2:  # noqa: PLR2004  # a spread needs two
        return None
    logs_above = [math.log(v) for v in above.values()]
    logs_below = [math.log(v) for v in below.values()]
    centre = mean(logs_above) - mean(logs_below)
    error_above, error_below = _error(logs_above), _error(logs_below)
    error = math.hypot(error_above, error_below)
    if error == 0.0:  # no spread at all: the degrees of freedom do not matter
        return _as_percent(centre, 0.0, 1, "welch", n)
    share_above, share_below = (error_above / error) ** 4, (error_below / error) ** 4
    degrees = 1.0 / (share_above / (n[0] - 1) + share_below / (n[1] - 1))
    return _as_percent(centre, error, degrees, "welch", n)


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return sample_sd(values) / math.sqrt(len(values))


def _as_percent(
    centre: float,
    error: float,
    degrees: float,
    method: Literal["paired", "welch"],
    n: tuple[int, int],
) -> RatioEstimate:
    """Turn a mean log-ratio and its standard error into percent with the interval's ends."""
    reach = student_t_quantile((1.0 + CONFIDENCE) / 2.0, degrees) * error
    low, middle, high = (math.expm1(x) * 100.0 for x in (centre - reach, centre, centre + reach))
    return RatioEstimate(middle, low, high, method, n)
