"""Sweeps that dnnbench 0.1.0 stored: the figures are those that it printed itself.

``support/stored/results`` has a finished sweep and an interrupted one, without events and logs;
``support/stored/expected`` has the documents that 0.1.0 printed of them.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import PROJECT, SUPPORT

from dnnbench.cli import main
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.trial.protocols import PROTOCOLS

STORED = SUPPORT / "stored"
FINISHED, INTERRUPTED = "2026-11-25T17-53-33Z", "2026-11-25T17-56-18Z"


@pytest.fixture(autouse=True)
def in_a_directory_with_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(STORED / "results", "results")


def without_untenable(expected: Any) -> Any:
    """Return a document without figures that 0.1.0 should not have printed.

    These are published figures, beside trials that shared 2 cores at another batch size, and ratios
    of single trials.
    """
    if isinstance(expected, list):
        return [without_untenable(value) for value in expected]
    if not isinstance(expected, dict):
        return expected
    if expected.get("method") == "welch" and expected["low_percent"] is None:
        return None
    return {
        key: None if key in ("published_epoch_s", "published_percent") else without_untenable(value)
        for key, value in expected.items()
    }


def assert_holds(found: Any, expected: Any, place: str = "$") -> None:
    """Check that everything expected is there; a document may have got more keys since."""
    if isinstance(expected, dict):
        assert expected.keys() <= found.keys(), place
        for key, value in expected.items():
            assert_holds(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, value in enumerate(expected):
            assert_holds(found[number], value, f"{place}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-12), place
    else:
        assert found == expected, place


@pytest.mark.parametrize(
    ("arguments", "document", "sweep"),
    [
        (("report", "--format", "json"), "report", FINISHED),
        (("report", "--format", "json"), "report", INTERRUPTED),
        (("run", "--dry-run", "--json", "--resume"), "resume", INTERRUPTED),
    ],
)
def test_the_figures_of_a_sweep_of_0_1_0_are_those_that_it_gave(
    arguments: tuple[str, ...], document: str, sweep: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, sweep]) == 0
    expected = json.loads((STORED / "expected" / f"{document}-{sweep}.json").read_text())
    assert_holds(json.loads(capsys.readouterr().out), without_untenable(expected))


def test_the_verdict_in_the_readme_is_that_of_the_sweep_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["report", "results/2026-11-25T23-41-25Z"]) == 0
    verdict = capsys.readouterr().out.split("\n\n")[0]
    assert verdict.startswith("Scales?")
    assert f"```\n{verdict}\n```" in Path("README.md").read_text()


def cost_of(sweep: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["cost", "--format", "json", *arguments, sweep]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("sweep", [FINISHED, INTERRUPTED])
def test_the_costs_of_a_sweep_of_0_1_0_are_those_that_it_gave_but_not_where_roles_shared_cores(
    sweep: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = json.loads((STORED / "expected" / f"cost-{sweep}.json").read_text())
    shared = cost_of(sweep, capsys)["sweep"]  # four roles on two cores
    assert [cell["usd_per_trial"] for cell in shared["cells"]] == [None] * len(shared["cells"])
    assert (shared["list_usd"], shared["kept_usd"], shared["new_machines_usd"]) == (None,) * 3
    assert all("roles shared each core" in cell["not_priced"] for cell in shared["cells"])
    assert_holds(shared["year_usd"], expected["sweep"]["year_usd"])
    environment = Path("results", sweep, "environment.json")
    environment.write_text(
        re.sub(r'"(cores|cores_usable)": \d+(\.\d+)?', r'"\1": 4', environment.read_text())
    )
    assert_holds(cost_of(sweep, capsys), expected)


def test_a_finished_sweep_of_0_1_0_has_nothing_left_to_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "--resume", FINISHED, "--dry-run"]) == ResultsError.exit_code
    assert "has no trial left to run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "known", "unknown"),
    [
        ("trials.jsonl", '"epochs":2,', '"epochs":2,"patience":3,'),
        ("trials.jsonl", '"name":"dc-sgd"', '"name":"elastic"'),
        ("trials.jsonl", '"optimizer":"sgd"', '"optimizer":"lion"'),
        ("plan.json", '"name": "dc-sgd"', '"name": "elastic"'),
        ("config.json", '"dc-sgd"\n', '"elastic"\n'),
    ],
    ids=["field", "protocol", "optimizer", "planned-protocol", "set-protocol"],
)
def test_what_this_version_does_not_know_is_refused_in_one_line(
    file: str, known: str, unknown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("results", FINISHED, file)
    assert known in path.read_text()
    path.write_text(path.read_text().replace(known, unknown))
    assert main(["report", FINISHED]) == ResultsError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert file in line
    assert "elastic" in line or "patience" in line or "lion" in line


def test_an_unknown_protocol_in_the_settings_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "--protocols", "downpour,dc-sdg", "--dry-run"]) == ConfigError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        f"expected one or more of {', '.join(PROTOCOLS)}, got 'downpour,dc-sdg'; "
        "did you mean dc-sgd?"
    )
