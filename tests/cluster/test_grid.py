"""A real grid of settings on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dnnbench
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.results import open_sweep


def call(directory: Path, *arguments: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", "dnnbench", *arguments],
        cwd=directory,
        env={**kept, "PYTHONPATH": str(Path(dnnbench.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_setting_of_a_grid_trains_as_it_says_and_is_ranked(tmp_path: Path) -> None:
    settings = ["--learning-rate", "0.01,0.5", "--batch-size", "500,1000"]
    size = ["--nodes", "2", "--repeats", "1", "--epochs", "1", "--warmup-steps", "10"]
    data = ["--dataset", "synthetic-mnist", "--protocols", "downpour"]
    report = json.loads(call(tmp_path, "run", "--json", *settings, *size, *data))
    done = open_sweep(tmp_path / "results").outcomes()
    assert {outcome.status for outcome in done} == {"ok"}
    assert {outcome.order.cell.variation for outcome in done} == {
        (("batch_size", batch), ("learning_rate", rate))
        for batch in (500, 1000)
        for rate in (0.01, 0.5)
    }
    for outcome in done:
        assert {r.examples // r.steps for r in outcome.epochs} == {outcome.order.batch_size}
    ranked = report["ranking"]["cells"]
    # One epoch at 0.01 leaves the accuracy far behind that of 0.5.
    rates = [cell["variation"]["learning_rate"] for cell in ranked]
    assert rates == [0.5, 0.5, 0.01, 0.01]
    accuracies = [cell["test_accuracy"]["mean"] for cell in ranked]
    assert accuracies == sorted(accuracies, reverse=True)
