"""Completion of values, as a shell asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from dnnbench.cli import COMMANDS, group
from dnnbench.trial.protocols import PROTOCOLS

if TYPE_CHECKING:
    from pathlib import Path


def completed(*words: str, last: str) -> list[str]:
    """Return what a shell offers after words and the beginning of the last one."""
    shell = ShellComplete(group, {}, "dnnbench", "_DNNBENCH_COMPLETE")
    return [item.value for item in shell.get_completions(list(words), last)]


def test_commands() -> None:
    assert completed(last="") == list(COMMANDS)
    assert completed(last="st") == ["status", "stop"]


@pytest.mark.parametrize(
    ("option", "last", "offered"),
    [
        ("--protocols", "", list(PROTOCOLS)),
        ("--protocols", "downpour,stale", ["downpour,staleness-aware"]),
        ("--dataset", "synthetic-m", ["synthetic-mnist"]),
        ("--model", "lenet", ["lenet-5"]),
        ("--optimizer", "", ["sgd", "adagrad"]),
        ("--optimizer", "no-such", []),
        ("--batch-size", "1", []),
    ],
)
def test_values_of_settings(option: str, last: str, offered: list[str]) -> None:
    assert completed("run", option, last=last) == offered


def test_price_books_and_their_machines() -> None:
    assert "gcp-2026-08" in completed("cost", "--price-book", last="gcp")
    assert "n1-standard-8" in completed("cost", "--machine", last="n1-standard-8")


@pytest.mark.parametrize("command", ["report", "cost"])
def test_sweeps_of_the_results_directory_newest_first(command: str, tmp_path: Path) -> None:
    for name in ("20260101T000000Z-1", "20260102T000000Z-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text("{}")
    options = ("--results-dir", str(tmp_path))
    assert completed(command, *options, last="") == ["20260102T000000Z-1", "20260101T000000Z-1"]
    assert completed(command, *options, last="20260101") == ["20260101T000000Z-1"]


def test_nothing_is_offered_where_settings_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dnnbench.toml").write_text("not toml")
    monkeypatch.chdir(tmp_path)
    assert completed("report", last="") == []
    assert capfd.readouterr() == ("", "")
