from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

from dnnbench.analysis.stats import (
    Method,
    difference,
    estimate,
    incomplete_beta,
    mean,
    merge_counts,
    percentile,
    ratio_percent,
    repeats_for,
    sample_sd,
    student_t_quantile,
)

# Percentage points of the t distribution as printed in the usual tables, to three decimals.
T_TABLE = {
    (1, 0.975): 12.706,
    (2, 0.975): 4.303,
    (3, 0.975): 3.182,
    (4, 0.975): 2.776,
    (9, 0.975): 2.262,
    (19, 0.975): 2.093,
    (30, 0.975): 2.042,
    (120, 0.975): 1.980,
    (5, 0.90): 1.476,
    (10, 0.95): 1.812,
    (10, 0.995): 3.169,
    (60, 0.9995): 3.460,
}


@pytest.mark.parametrize(("degrees", "probability"), T_TABLE)
def test_t_quantile_is_that_of_the_printed_table(degrees: int, probability: float) -> None:
    assert round(student_t_quantile(probability, degrees), 3) == T_TABLE[degrees, probability]


@pytest.mark.parametrize("degrees", [0.7, 1, 1.5, 2, 3, 4.7, 10, 29.9, 100, 1e4])
@pytest.mark.parametrize("probability", [0.001, 0.2, 0.5, 0.51, 0.6, 0.9, 0.975, 0.9995])
def test_t_quantile_agrees_with_scipy(degrees: float, probability: float) -> None:
    expected = scipy_stats.t.ppf(probability, degrees)
    assert student_t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 3), (1.0, 3), (0.9, 0), (math.nan, 3)])
def test_t_quantile_refuses_what_has_none(probability: float, degrees: float) -> None:
    with pytest.raises(ValueError, match="no t quantile"):
        student_t_quantile(probability, degrees)


@given(st.floats(0.1, 300), st.floats(0.1, 300), st.floats(0, 1))
def test_incomplete_beta_agrees_with_scipy(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-13)


@given(st.lists(st.floats(0.01, 1e6), min_size=2, max_size=30))
def test_estimate_is_the_t_interval_of_scipy(values: list[float]) -> None:
    found = estimate(values)
    assert found is not None
    assert found.half_width is not None
    error = sample_sd(values) / math.sqrt(len(values))
    expected = scipy_stats.t.ppf(0.975, len(values) - 1) * error
    assert found.half_width == pytest.approx(expected, rel=1e-7)
    assert (found.n, found.minimum, found.maximum) == (len(values), min(values), max(values))
    assert found.mean == pytest.approx(mean(values))


def test_estimate_has_no_interval_for_one_value_and_nothing_for_none() -> None:
    single = estimate([3.5])
    assert single is not None
    assert (single.mean, single.n, single.half_width) == (3.5, 1, None)
    assert estimate([]) is None


def test_sample_sd_of_a_known_sample() -> None:
    assert sample_sd([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(math.sqrt(32 / 7))


def test_percentile_is_the_nearest_rank() -> None:
    values = [15, 20, 35, 40, 50]
    assert [percentile(values, p) for p in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    assert percentile([7], 95) == 7


def test_histograms_of_different_lengths_add_up() -> None:
    assert merge_counts([[1, 2], [], [0, 1, 5]]) == [1, 3, 5]
    assert merge_counts([]) == []


def test_paired_ratio_is_the_t_interval_of_log_ratios() -> None:
    below = {1: 3.0, 2: 4.0, 3: 5.0, 4: 9.9}
    above = {1: 3.3, 2: 4.2, 3: 5.4}
    ratio = ratio_percent(above, below, paired=True)
    assert ratio is not None
    logs = [math.log(above[i] / below[i]) for i in (1, 2, 3)]
    interval = scipy_stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    assert ratio.percent == pytest.approx(100 * math.expm1(mean(logs)))
    assert ratio.low_percent == pytest.approx(100 * math.expm1(interval.low))
    assert ratio.high_percent == pytest.approx(100 * math.expm1(interval.high))
    assert (ratio.method, ratio.n) == ("paired", (3, 3))


@pytest.mark.parametrize("paired", [True, False])
def test_ratio_without_two_pairs_is_the_interval_of_welch(paired: bool) -> None:
    above = {1: 3.3, 2: 3.5, 3: 3.4}
    below = {3: 3.1, 4: 3.0, 5: 3.3, 6: 2.9}
    ratio = ratio_percent(above, below, paired=paired)
    assert ratio is not None
    logs = [[math.log(v) for v in side.values()] for side in (above, below)]
    interval = scipy_stats.ttest_ind(*logs, equal_var=False).confidence_interval(0.95)
    assert ratio.low_percent == pytest.approx(100 * math.expm1(interval.low))
    assert ratio.high_percent == pytest.approx(100 * math.expm1(interval.high))
    assert (ratio.method, ratio.n) == ("welch", (3, 4))


def test_ratio_of_single_values_cannot_be_told_from_chance() -> None:
    assert ratio_percent({1: 3.0}, {1: 2.0}, paired=True) is None
    assert ratio_percent({1: 3.0}, {1: 2.0, 2: 2.1}, paired=False) is None
    assert ratio_percent({}, {1: 1.0}, paired=True) is None
    assert ratio_percent({1: 0.0, 2: 1.0}, {1: 1.0, 2: 1.0}, paired=False) is None


def test_ratio_of_wild_values_is_finite() -> None:
    ratio = ratio_percent({1: 1e-300, 2: 1e300}, {1: 1.0, 2: 2.0}, paired=False)
    assert ratio is not None
    assert math.isfinite(ratio.high_percent)
    assert ratio.low_percent == -100.0


@pytest.mark.parametrize(
    ("method", "n"), [("paired", (3, 3)), ("welch", (3, 3)), ("welch", (2, 4))]
)
def test_the_repeats_for_an_interval_make_it_narrow_enough_and_one_less_does_not(
    method: Method, n: tuple[int, int]
) -> None:
    def half_width(count: float) -> float:
        sides = 1 if method == "paired" else 2
        degrees = sides * (count - 1)
        return student_t_quantile(0.975, degrees) * 0.1 * math.sqrt(sides / count)

    now = half_width(2 / (1 / n[0] + 1 / n[1]))
    found = repeats_for(now, 0.05, method, n)
    assert found is not None
    assert half_width(found) <= 0.05 < half_width(found - 1)
    assert repeats_for(now, 0.0001, method, n) is None


def test_difference_is_the_t_interval_of_pairs() -> None:
    found = difference({1: 3.0, 2: 5.0, 3: 8.0}, {1: 2.0, 2: 3.0, 3: 5.0}, paired=True)
    assert found is not None
    half = 4.302652729696142 * 1.0 / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half))
    assert difference({1: 3.0}, {1: 2.0, 2: 3.0}, paired=True) is None


def test_ratio_of_values_without_spread_is_certain() -> None:
    ratio = ratio_percent({1: 2.0, 2: 2.0}, {3: 1.0, 4: 1.0}, paired=False)
    assert ratio is not None
    assert (ratio.percent, ratio.low_percent, ratio.high_percent) == pytest.approx((100,) * 3)
