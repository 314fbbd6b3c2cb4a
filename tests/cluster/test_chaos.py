"""A short chaos suite: a dozen faults in real sweeps, here and on hosts, and every promise held."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import PROJECT

from benchmarks.chaos.records import read
from benchmarks.testbed.namespaces import NotPossibleError, refuse_without

if TYPE_CHECKING:
    from pathlib import Path

SEED = "2017"
TIMEOUT_S = 540.0


@pytest.fixture(autouse=True)
def as_root_with_namespaces() -> None:
    try:
        refuse_without()
    except NotPossibleError as error:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(str(error))
        pytest.skip(str(error))


def test_a_dozen_faults_are_survived_as_promised(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.chaos", "run", "--quick", "--seed", SEED]
    done = subprocess.run(
        [*command, "--figures", path],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = read(path)
    assert len(found.injected) == 12
    assert {record.place for record in found.injected} == {"local", "hosts"}
    assert [record.problems for record in found.records if record.problems] == []
