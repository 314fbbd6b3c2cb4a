"""A grid of settings on the way through the commands, on fake agents."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import fake_sweep

from dnnbench.cli import main
from dnnbench.report.formats import FORMATS
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.results import open_sweep
from dnnbench.sweep.store import SweepStore

if TYPE_CHECKING:
    from dnnbench.trial.outcome import TrialOutcome

GRID = [
    *("run", "--dataset", "synthetic-mnist", "--nodes", "3", "--repeats", "2"),
    *("--learning-rate", "0.1,0.3", "--batch-size", "100,500", "--lambda0", "1,2"),
]
CELLS = 4 + 8  # downpour has no lambda


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(*fake_sweep.SOURCE)


def test_a_grid_is_planned_run_reported_and_priced(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GRID, "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert f": {2 * CELLS} trials" in plan
    assert "Varied, as the names of the trials show: batch size, learning rate" in plan
    assert "batch size 100" not in plan
    assert main(GRID) == 0
    shown, err = capsys.readouterr()
    assert "dc-sgd, 3 nodes (1 ps + 2 workers), batch size 100, learning rate 0.1, lambda0 1" in err
    assert all(len(line) <= 80 for line in shown.splitlines())
    joined = " ".join(shown.split())
    assert "Varied batch size 100, 500; learning rate 0.1, 0.3; lambda0 1, 2" in joined
    assert "Settings by final test accuracy" in joined
    assert "Settings by time to" in joined
    for layout in FORMATS:
        assert main(["report", "--format", layout]) == 0
    assert main(["cost", "--target-accuracy", "0.5"]) == 0
    assert "batch size 100" in " ".join(capsys.readouterr().out.split())
    assert main(["report", "--target-accuracy", "0.25"]) == 0
    assert "Settings by time to 25 % test accuracy" in capsys.readouterr().out


def test_the_exports_tell_the_cells_of_a_grid_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GRID) == 0
    capsys.readouterr()
    assert main(["report", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    names = ("protocol", "learning_rate", "batch_size", "lambda0")
    cells = [tuple(row[name] for name in names) for row in rows]
    assert len(set(cells)) == len(cells) == CELLS
    assert ("downpour", "0.3", "500", "") in cells
    assert main(["report", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len({json.dumps(cell["variation"]) for cell in report["cells"]}) == CELLS
    assert [cell["n"] for cell in report["cells"]] == [2] * CELLS
    pairs = [(over["protocol"], over["baseline"]) for over in report["overhead"]]
    assert pairs == [("dc-sgd", "downpour")] * 8
    assert len(report["ranking"]["cells"]) == CELLS


def test_a_grid_is_resumed_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = SweepStore.append

    def third_is_interrupted(store: SweepStore, outcome: TrialOutcome) -> None:
        if len(store.outcomes()) == 2:
            raise KeyboardInterrupt
        stored(store, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(SweepStore, "append", third_is_interrupted)
        assert main(GRID) == 130
    store = open_sweep(Path("results"))
    assert len(store.pending()) == 2 * CELLS - 2
    assert main(["run", "--resume"]) == 0
    outcomes = store.outcomes()
    assert len({outcome.order.id for outcome in outcomes}) == 2 * CELLS
    assert {outcome.order for outcome in outcomes} == set(store.plan.orders)


def test_a_grid_of_one_protocol_and_many_settings_draws_one_figure_per_protocol() -> None:
    assert main([*GRID, "--protocols", "downpour", "--momentum", "0,0.5,0.9"]) == 2
    assert main([*GRID[:-2], "--protocols", "downpour", "--momentum", "0,0.5,0.9"]) == 0
    (sweep,) = Path("results").iterdir()
    assert (sweep / "report.svg").is_file()
    assert "momentum 0.5" in (sweep / "report.md").read_text(encoding="utf-8")


def test_a_prediction_is_made_of_one_batch_size(capsys: pytest.CaptureFixture[str]) -> None:
    predict = ["predict", "--parameters", "55050", "--nodes", "4"]
    assert main(GRID) == 0
    assert main(predict) == 3
    assert "has several values of batch_size, of which a prediction needs one" in (
        capsys.readouterr().err
    )
    assert main([*GRID[:7], "--learning-rate", "0.1,0.3", "--lambda0", "1,2"]) == 0
    assert main(predict) == 0
