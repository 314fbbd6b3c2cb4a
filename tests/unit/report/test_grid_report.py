"""The tables of a grid: every cell by its setting, and the rankings."""

from __future__ import annotations

from typing import Any

import pytest
from support.factories import make_context, make_diverged, make_order, make_outcome

from dnnbench.analysis.analyse import Analysis, analyse
from dnnbench.report import tables, terminal
from dnnbench.text.screen import Screen
from dnnbench.trial.outcome import EvaluationRecord, TrialOutcome
from dnnbench.trial.spec import ModelSpec, ProtocolSpec


def outcome(rate: float, repeat: int, accuracy: float, **more: Any) -> TrialOutcome:
    order = make_order(
        4,
        ProtocolSpec("downpour", learning_rate=rate, momentum=more.get("momentum", 0.0)),
        repeat,
        varied=("learning_rate", *more),
        id=f"{rate}-{repeat}-{more}",
        model=ModelSpec(l2=more.get("l2", 1e-4)),
        **{name: value for name, value in more.items() if name in ("epochs", "batch_size")},
    )
    records = [EvaluationRecord(n, n, accuracy, accuracy) for n in (1, None)]  # type: ignore[arg-type]
    return make_outcome(order, evaluations=records)


def report(*outcomes: TrialOutcome, **context: Any) -> Analysis:
    return analyse(outcomes, make_context(**context), planned=[o.order.cell for o in outcomes])


def rows(analysis: Analysis, title: str) -> list[list[str]]:
    (table,) = (t for t in tables.report_tables(analysis) if t.title.startswith(title))
    return table.rows


def test_rankings_have_a_rank_per_setting_and_none_for_one_that_diverged() -> None:
    bad = outcome(0.8, 2, 0.99)
    analysis = report(
        *(outcome(0.1, repeat, 0.90 + repeat / 100) for repeat in (1, 2)),
        *(outcome(0.3, repeat, 0.95 + repeat / 100) for repeat in (1, 2)),
        outcome(0.8, 1, 0.99),
        make_diverged(bad.order),
    )
    by_accuracy = rows(analysis, "Settings by final test accuracy")
    assert [(row[0], row[3], row[-1]) for row in by_accuracy] == [
        ("1", "0.3", "2 of 2"),
        ("2", "0.1", "2 of 2"),
        ("-", "0.8", "1 of 2"),
    ]
    assert by_accuracy[1][5] == "5.00 ± 0.00"
    by_time = rows(analysis, "Settings by time to 96 % test accuracy")
    assert {(row[3], row[-1]) for row in by_time} == {
        ("0.3", "2 of 2"),
        ("0.8", "1 of 2"),
        ("0.1", "0 of 2"),
    }


def test_what_varies_is_in_a_line_of_its_own_and_nowhere_else() -> None:
    settings: dict[str, Any] = {"batch_size": 50, "epochs": 2, "l2": 0.5}
    analysis = report(outcome(0.1, 1, 0.9, **settings), outcome(0.3, 1, 0.9, **settings))
    facts = dict(tables.facts(analysis))
    assert facts["Varied"] == "learning rate 0.1, 0.3; batch size 50; epochs 2; l2 0.5"
    assert facts["downpour"] == "Downpour SGD: sgd"
    assert "epoch" not in facts["Trial"]
    assert "batch" not in facts["Trial"]
    assert "L2" not in facts["Model"]
    titles = [table.title for table in tables.report_tables(analysis)]
    assert any(title.startswith("Accuracy after all epochs") for title in titles)


def test_trials_side_by_side_are_noted() -> None:
    trial = dict(tables.facts(report(outcome(0.1, 1, 0.9), parallel=3)))["Trial"]
    assert "up to 3 side by side" in trial
    assert "side by side" not in dict(tables.facts(report(outcome(0.1, 1, 0.9))))["Trial"]


@pytest.mark.parametrize("names", [(), ("momentum",), ("momentum", "l2", "batch_size")])
def test_a_grid_fits_80_columns(names: tuple[str, ...]) -> None:
    values = {"momentum": (0.0, 0.125), "l2": (1e-4, 0.00025), "batch_size": (100, 1000)}
    outcomes = [
        outcome(rate, repeat, 0.9 + rate / 10, **{name: values[name][i] for name in names})
        for rate in (0.001, 0.3)
        for i in (0, 1)
        for repeat in (2 * i + 1, 2 * i + 2)
    ]
    analysis = report(*outcomes)
    text = terminal.render(analysis, Screen(width=80))
    assert max(map(len, text.splitlines())) <= 80
    assert "Settings by final test accuracy" in text
