"""The convergence experiment from its command to its document, on real trials."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import PROJECT

from benchmarks.convergence.pictures import CURVES, MAP
from benchmarks.convergence.trials import read

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "<!-- figures: errors -->\n<!-- end -->\n"


def call(*arguments: str | Path) -> str:
    """Run the script; return what it printed to standard error."""
    command = [sys.executable, "-m", "benchmarks.convergence", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.long
def test_the_quick_experiment_runs_once_and_becomes_a_page(tmp_path: Path) -> None:
    results, figures, page = tmp_path / "results", tmp_path / "f.json", tmp_path / "page.md"
    wanted = ("--seeds", "1", "--rates", "0.5", "--protocols", "sequential", "downpour", "dc-sgd-a")
    run = ("run", "--quick", *wanted, "--results-dir", results)
    assert call(*run).count(": ok, ") == 3
    assert call(*run) == ""
    page.write_text(PAGE, encoding="utf-8")
    call("collect", "--results-dir", results, "--figures", figures)
    call("document", "--figures", figures, "--document", page)
    trials = {trial.protocol: trial for trial in read(figures).trials}
    assert trials.keys() == {"sequential", "downpour", "dc-sgd-a"}
    assert trials["sequential"].staleness == 0.0 < trials["downpour"].staleness
    assert (trials["dc-sgd-a"].compensation or 0.0) > 0.0
    assert all(len(t.errors) == len(t.seconds) == len(t.cpu_s) == 1 for t in trials.values())
    assert "`dc-sgd-a`" in page.read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "images").iterdir()} == {CURVES, MAP}
