"""Void cells: no figure of theirs is shown anywhere, and the reason stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.factories import make_context, make_failed, make_sweep_on_hosts

from dnnbench.analysis.analyse import Analysis, analyse
from dnnbench.analysis.compare import Side, compare, compare_with_published
from dnnbench.analysis.inputs import Given, read_inputs
from dnnbench.analysis.trial_figures import counted_trials
from dnnbench.analysis.verdict import judge
from dnnbench.cost import basis_of_book, cost_of_sweep, load_book
from dnnbench.cost.tables import cells as cost_cells
from dnnbench.errors import ResultsError
from dnnbench.report.tables import closing_notes, report_tables, table_2
from dnnbench.report.verdict import verdict_fields
from dnnbench.sweep.plan import Plan
from dnnbench.sweep.void import with_void
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from dnnbench.trial.outcome import TrialOutcome

VOID = CellKey(12, "dc-sgd")
REASON = "2 of 5 repeats failed"


def sweep(void: CellKey = VOID, failures: int = 2) -> tuple[Analysis, list[TrialOutcome]]:
    """Return the sweep of Table 2 with 5 repeats, of which some of one cell failed."""
    outcomes, context = make_sweep_on_hosts(5)
    outcomes = [
        make_failed(o.order) if o.order.cell == void and o.order.repeat <= failures else o
        for o in outcomes
    ]
    plan = Plan("sweep-1", [o.order for o in outcomes], [], "", {}, void_after=2)
    outcomes = with_void(outcomes, plan)
    context = make_context(
        hosts=context.hosts, host_cores=48, planned_repeats=5, void_after=plan.void_after
    )
    return analyse(outcomes, context), outcomes


def side(analysis: Analysis, outcomes: list[TrialOutcome], name: str) -> Side:
    return Side(name, analysis, counted_trials(outcomes), 1)


def test_one_failed_repeat_voids_nothing() -> None:
    analysis, outcomes = sweep(failures=1)
    cell = analysis.cell(VOID)
    assert (cell.n, cell.failed, cell.void) == (4, 1, None)
    assert "void" not in {o.status for o in outcomes}


def test_a_void_cell_shows_the_reason_in_place_of_its_average() -> None:
    analysis, _ = sweep()
    cell = analysis.cell(VOID)
    assert (cell.n, cell.epoch_s, cell.test_accuracy, cell.void) == (0, None, None, REASON)
    assert (cell.failed, cell.voided) == (2, 3)
    *_, row = table_2(analysis).rows
    assert "void" in row
    assert "2 of 5 failed" in row
    assert "A cell is void if 2 repeats or more failed" in " ".join(closing_notes(analysis))
    warnings = " ".join(analysis.warnings)
    assert f"{VOID} is void, as {REASON}: it has no averages" in warnings
    (others,) = (t for t in report_tables(analysis) if t.title.startswith("Trials"))
    assert any("3 void, 2 failed" in row for row in others.rows)
    excluded = [lost for lost in analysis.not_counted if lost.status == "void"]
    assert [lost.cause for lost in excluded] == [f"its cell is void: {REASON}"] * 3


def test_growth_and_overhead_of_a_void_cell_are_not_told_and_the_verdict_names_it() -> None:
    analysis, _ = sweep()
    growth = {g.protocol: g.measured for g in analysis.growth}
    assert growth["dc-sgd"] is None
    assert growth["downpour"] is not None
    assert {o.nodes for o in analysis.overhead if o.measured} == {4, 8}
    verdict = judge(analysis)
    assert {s.protocol: s.obstacle for s in verdict.scaling}["dc-sgd"] == "void"
    assert [choice.obstacle for choice in verdict.choices] == ["void"]
    assert verdict.steps[0].name == "resume"
    answers = dict(verdict_fields(analysis))
    assert answers["Protocol?"] == f"Cannot be told: {VOID} is void ({REASON})."


def test_a_sweep_whose_protocols_are_all_void_at_one_end_names_them() -> None:
    outcomes, context = make_sweep_on_hosts(5)
    outcomes = [
        make_failed(o.order) if o.order.nodes == 12 and o.order.repeat < 3 else o for o in outcomes
    ]
    plan = Plan("sweep-1", [o.order for o in outcomes], [], "", {}, void_after=2)
    given = make_context(hosts=context.hosts, host_cores=48, planned_repeats=5, void_after=2)
    analysis = analyse(with_void(outcomes, plan), given)
    answers = dict(verdict_fields(analysis))
    expected = f"Cannot be told: downpour at 12 nodes is void ({REASON}), and 1 more."
    assert answers["Scales?"] == expected


def test_compare_names_a_void_cell_and_does_not_compare_it() -> None:
    whole = side(*sweep(failures=0), name="a")
    void = side(*sweep(), name="b")
    found = compare(whole, void, ["epoch-time"])
    assert str(VOID) not in {row.cell for row in found.rows}
    assert len(found.rows) == 5
    assert found.notes == [f"Not compared: {VOID} of b is void, as {REASON}."]
    published = compare_with_published(void, ["epoch-time"])
    assert f"Not compared: {VOID} of b is void, as {REASON}." in published.notes


def test_a_prediction_does_not_rest_on_a_void_cell() -> None:
    analysis, outcomes = sweep(CellKey(4, "dc-sgd"))
    given = Given(parameters=55_050)
    costs = {c.protocol: c for c in read_inputs(analysis, outcomes, given).costs}
    assert (costs["downpour"].nodes, costs["dc-sgd"].nodes) == (4, 8)
    outcomes = [o for o in outcomes if o.order.cell == CellKey(4, "dc-sgd")]
    alone = analyse(outcomes, analysis.context)
    with pytest.raises(ResultsError, match=f"dc-sgd at 4 nodes is void .{REASON}"):
        read_inputs(alone, outcomes, given)


def test_a_void_cell_is_in_the_bill_and_has_no_mean() -> None:
    _, outcomes = sweep()
    basis = basis_of_book(load_book("gcp-2017-08"))
    cost = cost_of_sweep(outcomes, basis)
    cell = next(c for c in cost.cells if (c.nodes, c.protocol) == (12, "dc-sgd"))
    assert (cell.finished, cell.unfinished, cell.epoch_s) == (0, 5, None)
    assert cell.list_usd
    assert f"No mean of {VOID}: its cell is void: {REASON}." in cost_cells(cost).notes
