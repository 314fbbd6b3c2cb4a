"""The commands as a user types them: run, interrupt, resume, report, cost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dnnbench
from benchmarks.testbed.processes import Witness, children_of, of_session
from dnnbench.kernel import usable_cores
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.results import open_sweep

DNNBENCH = [sys.executable, "-m", "dnnbench"]
RUN = [
    *("run", "--dataset", "synthetic-mnist", "--nodes", "2,3", "--repeats", "2"),
    *("--epochs", "1", "--batch-size", "1000", "--warmup-steps", "10", "--seed", "4"),
    "--no-rehearsal",
]
TRIALS, LARGEST = 8, 3


class Sweep(NamedTuple):
    """A sweep that was interrupted and resumed, and what the commands said."""

    directory: Path
    interrupted_err: str
    resumed_out: str
    resumed_err: str


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
    package = Path(dnnbench.__file__).parent.parent
    return {**kept, "PYTHONPATH": str(package), "COLUMNS": "120"}


def call(directory: Path, *arguments: str) -> str:
    """Return what a command that must succeed prints as its result."""
    done = subprocess.run(
        [*DNNBENCH, *arguments],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "tensorflow" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Press Ctrl-C in the second trial, see what is left, go on to the end."""
    directory = tmp_path_factory.mktemp("sweep")
    popen: dict[str, Any] = {
        "cwd": directory,
        "env": environment(),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    with subprocess.Popen([*DNNBENCH, *RUN], **popen) as process:
        assert process.stderr
        said = ""
        while f"[2/{TRIALS}]" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        (agent_pid,) = children_of(process.pid)
        with Witness(of_session(agent_pid)) as witness:
            process.send_signal(signal.SIGINT)
            out, rest = process.communicate(timeout=30)
            assert witness.alive_after(0) == []
        assert (process.returncode, out) == (130, "")
    kept = [outcome.status for outcome in open_sweep(directory / "results").outcomes()]
    assert kept == ["ok", "interrupted"]
    with subprocess.Popen([*DNNBENCH, "run", "--resume", "--json"], **popen) as process:
        resumed_out, resumed_err = process.communicate(timeout=120)
        assert process.returncode == 0, resumed_err
    return Sweep(directory, said + rest, resumed_out, resumed_err)


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(sweep: Sweep) -> None:
    last = sweep.interrupted_err.strip().splitlines()[-1]
    assert "1 of 8 trials" in last
    assert "dnnbench run --resume" in last


def test_the_resumed_sweep_runs_what_was_left_and_only_that(sweep: Sweep) -> None:
    assert "7 of 8 trials to run" in sweep.resumed_err
    store = open_sweep(sweep.directory / "results")
    outcomes = store.outcomes()
    assert len(outcomes) == TRIALS
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert store.pending() == []
    assert len(store.sessions()) == 2


def test_the_json_document_is_all_that_stands_on_standard_output(sweep: Sweep) -> None:
    document = json.loads(sweep.resumed_out)
    stored = json.loads(call(sweep.directory, "report", "--format", "json"))
    assert document.items() >= stored.items()
    assert (sweep.directory / document["sweep_path"] / "report.md").is_file()


def test_the_report_has_both_protocols_at_every_node_count_in_every_format(sweep: Sweep) -> None:
    terminal = call(sweep.directory, "report")
    markdown = call(sweep.directory, "report", "--format", "markdown")
    for text in (terminal, markdown):
        for words in ("Seconds per epoch", "downpour", "dc-sgd", "synthetic-mnist"):
            assert words in text
    rows = list(csv.DictReader(call(sweep.directory, "report", "--format", "csv").splitlines()))
    cells = {(row["nodes"], row["protocol"]) for row in rows}
    assert cells == {(n, p) for n in ("2", "3") for p in ("downpour", "dc-sgd")}


def test_the_report_is_written_with_its_figure_beside_it(sweep: Sweep) -> None:
    call(sweep.directory, "report", "-o", "out.md")
    assert "](out.png)" in (sweep.directory / "out.md").read_text()
    assert (sweep.directory / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (sweep.directory / "out.svg").read_text()


@pytest.mark.parametrize(
    ("machine", "usd_per_hour"), [("n1-standard-4", "0.19"), ("n1-standard-8", "0.38")]
)
def test_the_cost_shows_table_1_and_prices_a_sweep_whose_roles_shared_no_core(
    sweep: Sweep, machine: str, usd_per_hour: str
) -> None:
    text = call(sweep.directory, "cost", *(["--machine", machine] if machine[-1] != "4" else []))
    assert "Table 1" in text
    assert "12,244.24" in text
    of_sweep = text.partition("Cost of the sweep")[2]
    assert f"time x nodes x {usd_per_hour}" in of_sweep
    assert of_sweep.count("dc-sgd") >= 2
    has_core_for_each = usable_cores() >= LARGEST
    assert ("No amount: " in of_sweep) != has_core_for_each


def test_a_model_that_does_not_fit_is_refused_before_there_is_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import keras\n"
        "def seven(**_):\n"
        "    return keras.Sequential([keras.Input((784,)), keras.layers.Dense(7)])\n"
    )
    done = subprocess.run(
        [*DNNBENCH, *RUN, "--model", "nets:seven"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "dnnbench: error: --model: [train] model: expected nets:seven to have outputs of shape "
        "(10,), one for each class, found (7,)"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nets.py"]
