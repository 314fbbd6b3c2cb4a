"""A sweep as a Slurm job, on a real Slurm: controller and nodes are daemons of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import PROJECT
from support.slurm import NotInstalledError, slurm

from benchmarks.testbed.farm import equip, outcomes
from dnnbench.settings.setting import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.slurm import Slurm

COUNT = 3
TIMEOUT_S = 300.0
TINY = {
    "DNNBENCH_TRAIN_DATASET": "synthetic-mnist",
    "DNNBENCH_TRAIN_EPOCHS": "1",
    "DNNBENCH_TRAIN_BATCH_SIZE": "2000",
    "DNNBENCH_SWEEP_NODES": "2,3",
    "DNNBENCH_SWEEP_PROTOCOLS": "downpour",
    "DNNBENCH_SWEEP_REPEATS": "1",
    "DNNBENCH_TRAIN_WARMUP_STEPS": "10",
}
EXAMPLE = PROJECT / "docs" / "examples" / "slurm"
STANDING = """\
#!/bin/sh
set -ex
dnnbench provision --slurm
dnnbench provision --slurm --check
dnnbench launch --slurm --nodes 3
squeue --steps --noheader --format=%N > steps.txt
dnnbench run --slurm --nodes 3
dnnbench status --slurm --json > status.json
dnnbench stop --slurm
"""


class Site:
    """A user's directory on a cluster with Slurm.

    Attributes:
        directory: in which jobs are submitted.
    """

    def __init__(self, running: Slurm, directory: Path) -> None:
        self.directory = directory / "sweep"
        self._slurm = running
        home, programs = directory / "home", directory / "bin"
        equip(home)
        programs.mkdir()
        program = programs / "dnnbench"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dnnbench "$@"\n')
        program.chmod(0o755)
        shutil.copytree(EXAMPLE, self.directory)
        with (self.directory / "dnnbench.toml").open("a") as settings:
            for name, address in running.addresses.items():  # no name service knows these nodes
                settings.write(f'\n[[hosts]]\nname = "{name}"\ndata_address = "{address}"\n')
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
        self.environment = {
            **kept,
            **TINY,
            "HOME": str(home),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "SLURM_CONF": str(running.conf),
            "COLUMNS": "160",
        }

    def submit(self, script: str) -> str:
        """Run a batch script as a job, which must succeed; return what it prints."""
        out = self.directory / f"{script}.out"
        done = subprocess.run(
            ["sbatch", "--wait", f"--nodes={COUNT}", f"--output={out}", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        printed = out.read_text() if out.exists() else self._slurm.logs()
        assert done.returncode == 0, done.stderr + printed
        return printed

    def steps(self) -> str:
        """Return the steps that run."""
        return subprocess.run(
            ["squeue", "--steps", "--noheader"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
        ).stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    try:
        with slurm(COUNT, tmp_path_factory.mktemp("cluster") / "slurm") as found:
            yield found
    except NotInstalledError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def site(running: Slurm, tmp_path: Path) -> Site:
    return Site(running, tmp_path)


@pytest.mark.long
def test_the_batch_script_of_the_example_runs_a_sweep_on_the_nodes_of_its_job(site: Site) -> None:
    printed = site.submit("sweep.sh")
    assert "trials" in printed
    found = outcomes(site.directory)
    assert [outcome.status for outcome in found] == ["ok"] * 2
    assert found[-1].placement == {"ps:0": "node2", "worker:0": "node3", "worker:1": "node4"}
    assert site.steps() == ""


@pytest.mark.long
def test_a_launched_cluster_has_a_step_on_every_node_until_it_is_stopped(site: Site) -> None:
    (site.directory / "standing.sh").write_text(STANDING)
    printed = site.submit("standing.sh")
    assert "using cluster" in printed
    assert {*(site.directory / "steps.txt").read_text().split()} >= {"node2", "node3", "node4"}
    status = json.loads((site.directory / "status.json").read_text())
    assert [part["doing"] for parts in status["clusters"].values() for part in parts] == [
        "idle"
    ] * 3
    assert outcomes(site.directory)[0].status == "ok"
    assert site.steps() == ""
