"""``dnnbench compare`` over stored sweeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import SUPPORT

from dnnbench.cli import main

FINISHED, INTERRUPTED = "2026-11-25T17-53-33Z", "2026-11-25T17-56-18Z"


@pytest.fixture(autouse=True)
def in_a_directory_with_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    shutil.copytree(SUPPORT / "stored" / "results", "results")


def slower(factor: float) -> str:
    """Make a copy of the finished sweep whose epochs took longer; return its name."""
    name = "2026-11-26T00-00-00Z"
    copy = Path("results") / name
    shutil.copytree(Path("results") / FINISHED, copy)
    for path in copy.iterdir():
        if path.suffix in (".json", ".jsonl"):
            path.write_text(path.read_text().replace(FINISHED, name))
    lines = []
    for line in (copy / "trials.jsonl").read_text().splitlines():
        outcome = json.loads(line)
        for record in outcome.get("epochs", []):
            record["duration_s"] *= factor
        lines.append(json.dumps(outcome))
    (copy / "trials.jsonl").write_text("\n".join(lines) + "\n")
    return name


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["compare", *arguments]) == code
    return capsys.readouterr()


def test_a_sweep_does_not_differ_from_itself(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, FINISHED, FINISHED, "--fail-above", "0").out
    assert "no difference" in shown
    assert "worse" not in shown


def test_a_slower_sweep_fails_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    name = slower(1.5)
    document = json.loads(said(capsys, FINISHED, name, "--format", "json").out)
    changes = [row for row in document["rows"] if row["metric"] == "epoch-time"]
    assert changes
    assert all(row["change"]["mean"] == pytest.approx(50.0) for row in changes)
    assert {row["told"] for row in changes} == {"worse"}
    error = said(capsys, FINISHED, name, "--fail-above", "49", code=7).err
    assert f"error: {name}: worse than {FINISHED} by more than 49: " in error
    said(capsys, FINISHED, name, "--fail-above", "51")
    assert "better" in said(capsys, name, FINISHED, "--fail-above", "0").out


def test_sweeps_of_other_settings_are_compared_only_if_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = slower(1.0)
    path = Path("results") / name / "trials.jsonl"
    path.write_text(path.read_text().replace('"learning_rate": 0.1', '"learning_rate": 0.3'))
    plan = Path("results") / name / "plan.json"
    plan.write_text(plan.read_text().replace('"learning_rate": 0.1', '"learning_rate": 0.3'))
    error = said(capsys, FINISHED, name, code=3).err
    assert "the settings differ: " in error
    assert "learning_rate 0.1 and 0.3" in error
    assert "--unlike" in error
    assert "learning_rate 0.1 and 0.3" in said(capsys, FINISHED, name, "--unlike").out


def test_table_2_is_compared_where_the_setting_is_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = said(capsys, "published", FINISHED, code=3).err
    assert "not on hosts of their own" in error or "not 100" in error
    shown = said(capsys, "published", FINISHED, "--unlike", "--format", "markdown").out
    assert "| downpour at 4 nodes |    3.52 |" in shown
    assert "at 3 nodes |" not in shown  # Table 2 has 4, 8 and 12


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nosuch", FINISHED), 3, "there is no sweep 'nosuch'"),
        ((FINISHED, "published"), 2, "SECOND: expected a sweep; published goes first"),
        (("published", FINISHED, "--metric", "throughput"), 2, "Table 2 has epoch times only"),
        ((FINISHED,), 2, "SECOND: is missing; see `dnnbench compare --help`"),
        ((FINISHED, FINISHED, "--fail-above", "-1"), 2, "--fail-above: expected a number >= 0"),
        ((FINISHED, FINISHED, "--fail-above", "nan"), 2, "--fail-above: expected a number >= 0"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    arguments: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = said(capsys, *arguments, code=code).err
    assert words in error
    assert error.count("\n") == 1 or error.count("note:")
