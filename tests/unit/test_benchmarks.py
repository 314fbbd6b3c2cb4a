from __future__ import annotations

from functools import partial

import msgspec
import pytest
from support.factories import make_context, make_order, make_outcome

from benchmarks import prediction
from benchmarks.document import fill
from benchmarks.harness import Report, Result, Row, as_json, in_turn
from dnnbench.analysis.analyse import analyse
from dnnbench.analysis.inputs import Given, read_inputs
from dnnbench.trial.machine import snapshot


def report(*results: Result) -> Report:
    return Report(snapshot(), (0.5, 0.5, 0.5), quick=False, results=list(results))


def test_every_other_round_runs_the_sides_backward() -> None:
    order: list[str] = []

    def side(name: str, number: int) -> dict[str, float]:
        order.append(f"{name}{number}")
        return {"s": float(number)}

    rounds = in_turn("g", {name: partial(side, name) for name in "abc"}, 3)
    assert order == ["a0", "b0", "c0", "c1", "b1", "a1", "a2", "b2", "c2"]
    assert [a_round["b"] for a_round in rounds] == [{"s": 0.0}, {"s": 1.0}, {"s": 2.0}]


def test_a_row_is_judged_by_its_medians_and_shows_the_ratios_within_rounds() -> None:
    verdict = Row("w", "a", "s", [1.0, 2.0, 9.0], [10.0, 4.0, 5.0], target=0.4).verdict()
    assert (verdict.ours, verdict.theirs) == (2.0, 5.0)
    assert verdict.ratio == pytest.approx(0.4)
    assert (verdict.low, verdict.high) == pytest.approx((0.1, 1.8))
    assert verdict.reached
    assert not Row("w", "a", "s", [1.0], [2.0], target=0.49).verdict().reached


@pytest.mark.parametrize(
    ("ours", "reached"),
    [([1.01, 1.02, 1.015], True), ([0.9, 1.1, 1.0], False), ([1.01], False), ([1.03] * 3, False)],
    ids=["close", "scattered", "one round", "too slow"],
)
def test_a_row_with_a_limit_needs_its_whole_interval_below_it(
    ours: list[float], reached: bool
) -> None:
    row = Row("w", "a", "s", ours, [1.0] * len(ours), 1.02, limit=1.03, spread="interval")
    assert row.verdict().reached is reached


def test_figures_go_into_their_sections_alone() -> None:
    document = (
        "a\n<!-- figures: Step -->\nold\n<!-- end -->\nb\n<!-- figures: X -->\nc\n<!-- end -->\n"
    )
    found = report(Result("Step", [Row("epoch", "tutorial", "s", [1.0], [4.0], 0.3)]))
    once = fill(document, found)
    assert "old" not in once
    assert "0.25" in once
    assert once.startswith("a\n<!-- figures: Step -->\n")
    assert once.endswith("<!-- end -->\nb\n<!-- figures: X -->\nc\n<!-- end -->\n")
    assert fill(once, found) == once


def test_a_report_is_read_back_as_it_was_written_and_carries_its_verdicts() -> None:
    found = report(Result("Step", [Row("epoch", "tutorial", "s", [1.0], [4.0], 0.2)]))
    text = as_json(found)
    assert msgspec.json.decode(text, type=Report) == found
    assert msgspec.json.decode(text)["results"][0]["rows"][0]["verdict"]["reached"] is False


def test_a_prediction_from_one_worker_repeats_its_step() -> None:
    order = make_order(2)
    outcome = make_outcome(order, parameters=55_050, placement={})
    analysis = analyse([outcome], make_context(planned_nodes=[2], planned_protocols=["downpour"]))
    found = read_inputs(analysis, [outcome], Given())
    alone = prediction.Alone.of_inputs(found)
    case = prediction.compared("alone", outcome, alone.inputs(alone.own_s, alone.server_s))
    assert case.error == pytest.approx(0.0, abs=1e-6)
    assert case.cells()["error %"] in {"+0.0", "-0.0"}
    slower = prediction.compared("x", outcome, alone.inputs(alone.own_s, 3 * alone.server_s))
    assert slower.error == pytest.approx(2 * alone.server_s / case.measured_s, rel=1e-4)
