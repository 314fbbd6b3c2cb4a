"""``dnnbench predict`` over stored sweeps."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import SUPPORT

from dnnbench.cli import main
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.settings.setting import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SWEEP = "2026-11-25T17-53-33Z"
PARAMETERS = ("--parameters", "55050")


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def in_a_directory_with_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SUPPORT / "stored" / "results", "results")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(["predict", SWEEP, *arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def document(call: Callable[..., Result]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        result = call(*PARAMETERS, "--format", "json", *arguments)
        assert result.code == 0, result.err
        return json.loads(result.out)

    return run


def test_every_table_is_shown_with_its_assumptions(call: Callable[..., Result]) -> None:
    result = call(*PARAMETERS)
    assert result.code == 0
    for text in (
        "Predicted for hosts with cores of their own",
        "Saturation: the resource that is busy first",
        "Size from which distributing pays",
        "Published growth from 4 to 12 nodes",
        "roles shared cores at 3 nodes",
        "--bandwidth replaces it",
        "cannot be told: the sweep has no trial of one process",
    ):
        assert text in " ".join(result.out.split())
    assert [line for line in result.out.splitlines() if len(line) > 100] == []
    assert [line for line in result.out.splitlines() if line != line.rstrip()] == []


def test_markdown_shows_the_same_tables(call: Callable[..., Result]) -> None:
    text = call(*PARAMETERS, "--format", "markdown").out
    assert text.startswith(f"# dnnbench prediction: {SWEEP}\n")
    assert text.count("\n## ") == 5
    assert "> **Warning**" in text


def test_a_disturbed_sweep_is_warned_of(call: Callable[..., Result], tmp_path: Path) -> None:
    warning = "others used the machines during the sweep"
    assert warning not in " ".join(call(*PARAMETERS).out.split())
    path = tmp_path / "results" / SWEEP / "environment.json"
    document = json.loads(path.read_text())
    for machine in (session["before"] for session in document["content"]):
        machine["load_average"][0] = 9.0
    path.write_text(json.dumps(document))
    assert warning in " ".join(call(*PARAMETERS).out.split())


def test_csv_has_a_row_per_prediction(call: Callable[..., Result]) -> None:
    text = call(*PARAMETERS, "--format", "csv", "--nodes", "4,12", "--ps", "1,2").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * 2 * 2
    assert {row["sweep"] for row in rows} == {SWEEP}
    assert {"epoch_s", "cpu_utilization", "link_utilization", "staleness"} <= rows[0].keys()


def test_every_input_has_its_origin(document: Callable[..., Any]) -> None:
    found = document("--bandwidth", "10000", "--round-trip", "0.05", "--server-ms", "0.5")
    hosts = found["prediction"]["hosts"]
    assert hosts["bandwidth_bit_per_s"] == {
        "value": pytest.approx(1e10),
        "origin": "given",
        "source": "--bandwidth",
    }
    assert hosts["round_trip_s"]["value"] == pytest.approx(5e-5)
    assert hosts["cores"]["origin"] == "assumed"
    costs = found["prediction"]["inputs"]["costs"][0]
    assert costs["server_cpu_s"]["origin"] == "given"
    assert costs["worker_cpu_s"]["origin"] == "measured"


def test_a_price_gives_costs_and_the_machine_its_cores(document: Callable[..., Any]) -> None:
    assert document()["prediction"]["rows"][0]["usd_per_pass"] is None
    found = document("--machine", "n1-standard-4", "--nodes", "4")
    assert found["prediction"]["hosts"]["cores"]["value"] == 4
    row = found["prediction"]["rows"][0]
    price = found["prediction"]["hosts"]["usd_per_hour"]["value"]
    expected = 4 * price * row["epoch_s"] / 3600 / 3
    assert row["usd_per_pass"] == pytest.approx(expected)
    own = document("--usd-per-hour", "0.25", "--cores-per-host", "2")["prediction"]["hosts"]
    assert (own["usd_per_hour"]["value"], own["cores"]["value"]) == (0.25, 2)


def test_the_largest_prediction_is_one_of_ten_thousand_nodes(document: Callable[..., Any]) -> None:
    rows = document("--nodes", "10000", "--ps", "1,100")["prediction"]["rows"]
    assert {row["nodes"] for row in rows} == {10_000}


def test_the_number_of_parameters_is_asked_for(call: Callable[..., Result]) -> None:
    result = call()
    assert result.code == ResultsError.exit_code
    (line,) = result.err.splitlines()
    assert "give --parameters" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nodes", "10001"), "--nodes: expected whole numbers <= 10000 separated by commas"),
        (("--nodes", "1"), "--nodes: expected whole numbers >= 2"),
        (("--nodes", "4,x"), "--nodes: expected whole numbers"),
        (("--nodes", ""), "--nodes: expected"),
        (("--ps", "0"), "--ps: expected whole numbers >= 1"),
        (("--ps", "12", "--nodes", "4,8"), "--nodes: nothing to predict"),
        (("--cores-per-host", "0"), "--cores-per-host: expected a whole number >= 1"),
        (("--bandwidth", "0"), "--bandwidth: expected a number > 0"),
        (("--bandwidth", "nan"), "--bandwidth: expected"),
        (("--round-trip", "-1"), "--round-trip: expected a number >= 0"),
        (("--round-trip", "inf"), "--round-trip: expected"),
        (("--parameters", "0"), "--parameters: expected a whole number >= 1"),
        (("--server-ms", "0"), "--server-ms: expected a number > 0"),
        (("--worker-ms", "fast"), "--worker-ms: expected a number"),
        (("--machine", "n1-standart-4"), "did you mean n1-standard-4?"),
        (("--price-book", "no-book"), "no-book"),
        (("--config", "missing.toml"), "missing.toml"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(
    call: Callable[..., Result], arguments: tuple[str, ...], words: str
) -> None:
    result = call(*PARAMETERS, *arguments)
    assert result.code == ConfigError.exit_code
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert words in line


def test_workers_without_a_time_of_their_own_are_predicted_too(
    document: Callable[..., Any],
) -> None:
    rows = document("--worker-ms", "0", "--server-ms", "1e-6")["prediction"]["rows"]
    assert all(row["link_utilization"] > 0.7 and row["epoch_s"] > 0 for row in rows)
