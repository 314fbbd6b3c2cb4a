"""A sweep from the command line with its paced rehearsal, on two cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dnnbench
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.rehearsal import REPEATS, open_rehearsal
from dnnbench.sweep.results import open_sweep

RUN = [
    *("run", "--profile", "smoke", "--rehearsal", "--nodes", "3,4", "--protocols", "downpour"),
    *("--dataset", "synthetic-mnist", "--epoch-steps", "50", "--steps-per-run", "10"),
]


def call(directory: Path, *arguments: str) -> tuple[str, str]:
    """Return both outputs of a command that has two cores at most, and must succeed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", "dnnbench", *arguments],
        cwd=directory,
        env={**kept, "PYTHONPATH": str(Path(dnnbench.__file__).parent.parent), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2]),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.long
def test_a_rehearsal_follows_the_trials_on_the_same_agents_and_is_reported(tmp_path: Path) -> None:
    out, err = call(tmp_path, *RUN)
    assert err.count("importing TensorFlow") == 1
    assert "paced rehearsal of 3 and 4 nodes: " in err
    sweep = open_sweep(tmp_path / "results")
    rehearsal = open_rehearsal(sweep)
    assert rehearsal is not None
    assert rehearsal.sessions()[0].hosts.keys() == {"localhost"}
    outcomes = rehearsal.outcomes()
    assert len(outcomes) == 2 * REPEATS
    assert {outcome.status for outcome in outcomes} == {"ok"}
    (pace_ms,) = {outcome.order.pace_ms for outcome in outcomes}
    assert pace_ms > 0
    for outcome in outcomes:
        assert all(1e3 * r.duration_s / r.steps >= pace_ms for r in outcome.epochs)
    assert {outcome.order.pace_ms for outcome in sweep.outcomes()} == {0.0}
    assert f"Paced rehearsal: {pace_ms:g} ms per step or more" in out
    assert "Paced times are no speed of this machine" in out
    document = json.loads(call(tmp_path, "report", "--format", "json")[0])
    assert document["rehearsal"]["pace_ms"] == pace_ms
    assert [cell["n"] for cell in document["rehearsal"]["cells"]] == [REPEATS, REPEATS]
    paced, _ = call(tmp_path, "report", str(rehearsal.path))
    assert f"(synthetic-mnist, paced: {pace_ms:g} ms per step or more)" in paced
