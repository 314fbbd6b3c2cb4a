from __future__ import annotations

import csv
import io
import re

import pytest
from support import PROJECT
from support.factories import (
    EXAMPLES,
    make_context,
    make_diverged,
    make_failed,
    make_order,
    make_outcome,
    make_sweep,
    spread,
)

from dnnbench.analysis.analyse import analyse
from dnnbench.report.figures.picture import Subject
from dnnbench.report.rows.table import ROWS, as_csv, columns_markdown, row_table
from dnnbench.trial.spec import ProtocolSpec


@pytest.fixture(scope="module")
def subject() -> Subject:
    orders = [make_order(4, repeat=repeat, epochs=2) for repeat in (1, 2)]
    outcomes = [make_outcome(order, placement=spread(order)) for order in orders]
    outcomes.append(make_failed(make_order(4, repeat=3), cause="=the kernel"))
    outcomes.append(make_diverged(make_order(4, repeat=4)))
    return Subject(analyse(outcomes, make_context(planned_nodes=[4])), outcomes)


def rows_of(subject: Subject, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(subject, name))))


def test_an_epoch_has_a_row_per_worker_with_the_accuracy_of_the_first(subject: Subject) -> None:
    rows = rows_of(subject, "epochs")
    assert len(rows) == 2 * 2 * 3  # trials, epochs, workers
    names = [(row["trial"], row["worker"], row["epoch"]) for row in rows]
    assert len(set(names)) == len(rows)
    first = rows[0]
    assert (first["worker"], first["host"], first["epoch"]) == ("worker:0", "node2", "1")
    assert float(first["duration_s"]) == pytest.approx(3.48)
    assert float(first["throughput_examples_per_s"]) == pytest.approx(EXAMPLES / 3.48)
    assert float(first["test_accuracy"]) == pytest.approx(0.9)
    assert {row["test_accuracy"] != "" for row in rows if row["worker"] != "worker:0"} == {False}


def test_a_trial_has_a_row_whatever_came_of_it(subject: Subject) -> None:
    rows = rows_of(subject, "trials")
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "diverged"]
    good, _, failed, diverged = rows
    assert float(good["epoch_s"]) == pytest.approx(3.5)
    assert float(good["test_accuracy"]) == pytest.approx(0.955)
    assert float(good["validation_accuracy"]) == pytest.approx(0.96)
    assert failed["cause"] == "worker:1 on localhost: =the kernel"
    assert diverged["cause"] == "loss is not finite at step 12 of epoch 1 (worker:1)"
    for lost in (failed, diverged):
        assert {lost[name] for name in ("epoch_s", "training_s", "test_accuracy", "loss")} == {""}


def test_rows_of_epochs_give_the_figures_of_trials_and_cells() -> None:
    outcomes = make_sweep()
    subject = Subject(analyse(outcomes, make_context()), outcomes)
    epochs, trials, cells = (rows_of(subject, name) for name in ("epochs", "trials", "cells"))
    for trial in trials:
        durations = [float(row["duration_s"]) for row in epochs if row["trial"] == trial["trial"]]
        assert float(trial["epoch_s"]) == pytest.approx(sum(durations) / len(durations))
    for cell in cells:
        key = cell["protocol"], cell["nodes"]
        means = [float(t["epoch_s"]) for t in trials if (t["protocol"], t["nodes"]) == key]
        assert float(cell["epoch_mean_s"]) == pytest.approx(sum(means) / len(means))
        assert cell["trials_ok"] == str(len(means))


@pytest.mark.parametrize("name", ROWS)
def test_settings_that_vary_have_columns_beside_the_nodes(name: str) -> None:
    outcomes = [
        make_outcome(
            make_order(
                4, ProtocolSpec(name="downpour", learning_rate=rate), varied=("learning_rate",)
            )
        )
        for rate in (0.1, 0.3)
    ]
    planned = [outcome.order.cell for outcome in outcomes]
    subject = Subject(analyse(outcomes, make_context(), planned=planned), outcomes)
    rows = rows_of(subject, name)
    columns = list(rows[0])
    assert columns[columns.index("nodes") + 1] == "learning_rate"
    assert {row["learning_rate"] for row in rows} == {"0.1", "0.3"}
    assert {row["nodes"] for row in rows} == {"4"}


@pytest.mark.parametrize("name", ROWS)
def test_every_column_is_documented_with_its_unit(name: str) -> None:
    page = (PROJECT / "docs" / "reference.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- columns: {name} -->\n\n(.*?)\n\n<!-- end -->", page, re.DOTALL)
    assert found, f"docs/reference.md has no section <!-- columns: {name} -->"
    assert found[1] == columns_markdown(name), f"it should be\n{columns_markdown(name)}"


@pytest.mark.parametrize("name", ROWS)
def test_names_are_unique_and_end_with_their_units(name: str) -> None:
    fields = row_table(name).fields
    assert len({field.name for field in fields}) == len(fields)
    suffixes = {"s": "_s", "%": "_percent", "examples/s": "_examples_per_s", "updates": "_updates"}
    for field in fields:
        suffix = suffixes.get(field.unit, "")
        assert field.name.endswith(suffix) or field.name.startswith("updates_"), field
