"""Comparisons of sweeps, against SciPy and against what must hold for any."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle
from support.factories import make_context, make_order, make_outcome

from dnnbench.analysis.analyse import analyse
from dnnbench.analysis.compare import (
    METRICS,
    Compared,
    Side,
    compare,
    compare_with_published,
)
from dnnbench.analysis.published import TABLE_2_EPOCH_S
from dnnbench.analysis.stats import Difference
from dnnbench.analysis.trial_figures import counted_trials
from dnnbench.errors import ConfigError

SECONDS = st.lists(st.floats(0.1, 100.0), min_size=2, max_size=6)


def side(seconds: list[float], *, name: str = "a", seed: int = 1, **order: Any) -> Side:
    """Return a sweep of one cell, whose trials took these seconds per epoch."""
    outcomes = [
        make_outcome(make_order(repeat=i, **order), epoch_s=s) for i, s in enumerate(seconds, 1)
    ]
    return Side(name, analyse(outcomes, make_context()), counted_trials(outcomes), seed)


def row(first: Side, second: Side) -> Compared:
    (found,) = compare(first, second, ["epoch-time"]).rows
    return found


@given(SECONDS, SECONDS)
def test_without_common_seeds_the_interval_is_welchs(a: list[float], b: list[float]) -> None:
    found = row(side(a, seed=1), side(b, seed=2)).change
    assert found is not None
    logs = [[math.log(s) for s in each] for each in (b, a)]
    if any(max(each) - min(each) < 1e-6 for each in logs):  # SciPy divides by it
        return
    low, high = oracle.ttest_ind(*logs, equal_var=False).confidence_interval()
    assert found.method == "welch"
    assert found.low == pytest.approx(100 * math.expm1(min(low, 600)), rel=1e-6, abs=1e-6)
    assert found.high == pytest.approx(100 * math.expm1(min(high, 600)), rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(st.floats(1.0, 9.0), st.floats(1.0, 9.0)), min_size=2, max_size=6))
def test_with_common_seeds_the_interval_is_that_of_the_pairs(
    pairs: list[tuple[float, float]],
) -> None:
    a, b = map(list, zip(*pairs, strict=True))
    found = row(side(a), side(b)).change
    assert found is not None
    logs = [math.log(after / before) for before, after in pairs]
    assert found.method == "paired"
    assert found.mean == pytest.approx(100 * math.expm1(sum(logs) / len(logs)), abs=1e-9)


@given(SECONDS)
def test_a_sweep_does_not_differ_from_itself(a: list[float]) -> None:
    found = row(side(a), side(a))
    assert found.change is not None
    assert (found.change.mean, found.change.low, found.change.high) == (0.0, 0.0, 0.0)
    assert found.told == "none"
    assert not found.is_worse_by(0.0)


@given(SECONDS, SECONDS, st.floats(0, 50))
def test_what_is_worse_one_way_is_better_the_other_way(
    a: list[float], b: list[float], least: float
) -> None:
    there, back = row(side(a, seed=1), side(b, seed=2)), row(side(b, seed=2), side(a, seed=1))
    words = {"better": "worse", "worse": "better", "none": "none", "unknown": "unknown"}
    assert there.told == words[back.told]
    assert not (there.is_worse_by(least) and back.is_worse_by(least))
    if there.is_worse_by(least):
        assert there.told == "worse"


def test_a_single_trial_tells_no_difference() -> None:
    found = row(side([1.0]), side([2.0, 2.1], seed=2))
    assert found.told == "unknown"
    assert not found.is_worse_by(0.0)


def test_less_accuracy_is_worse_and_less_time_is_better() -> None:
    down = Difference(-3.0, -4.0, -2.0, "welch", (3, 3))
    told = {
        name: Compared("cell", name, None, None, down).told for name in ("epoch-time", "throughput")
    }
    assert told == {"epoch-time": "better", "throughput": "worse"}
    accuracy = Compared("cell", "test-accuracy", None, None, down)
    assert accuracy.told == "worse"
    assert accuracy.is_worse_by(1.9)
    assert not accuracy.is_worse_by(2.0)
    assert METRICS["test-accuracy"].unit == "points"


def test_settings_and_cells_that_differ_are_named() -> None:
    first, second = side([1.0, 1.1]), side([1.0, 1.1], name="b", batch_size=10)
    comparison = compare(first, second, METRICS)
    assert comparison.differences == ["batch_size 100 and 10"]
    other = compare(first, side([1.0, 1.1], name="b", nodes=8), METRICS)
    assert other.rows == []
    assert other.notes == ["Only a has downpour at 4 nodes.", "Only b has downpour at 8 nodes."]


def test_variables_that_were_passed_on_to_one_side_alone_are_named() -> None:
    first, second = side([1.0, 2.0]), side([1.0, 2.0], name="b")
    context = make_context(variables={"MY_RATE": "0.5", "OMP_NUM_THREADS": "1"})
    analysis = msgspec.structs.replace(second.analysis, context=context)
    notes = compare(first, second._replace(analysis=analysis), ["epoch-time"]).notes
    assert notes == [
        "Other variable MY_RATE: unset and 0.5.",
        "Other variable OMP_NUM_THREADS: unset and 1.",
    ]


def test_table_2_is_a_sweep_without_a_spread() -> None:
    published_s = TABLE_2_EPOCH_S["downpour"][4]
    sweep = side([published_s * f for f in (1.1, 1.2, 1.3)])
    comparison = compare_with_published(sweep, ["epoch-time"])
    (found,) = comparison.rows
    assert found.change is not None
    logs = [math.log(f) for f in (1.1, 1.2, 1.3)]
    low, high = oracle.ttest_1samp(logs, 0.0).confidence_interval()
    assert found.change.low == pytest.approx(100 * math.expm1(low))
    assert found.change.high == pytest.approx(100 * math.expm1(high))
    assert comparison.differences == sweep.analysis.unlike_report
    with pytest.raises(ConfigError, match="Table 2 has epoch times only, not server-cpu"):
        compare_with_published(sweep, ["server-cpu"])
