"""A sweep on the pods of ``dnnbench manifest``, reached through a stand-in for ``kubectl``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import SUPPORT

from benchmarks.testbed.farm import TINY, Called, Command, equip, outcomes
from benchmarks.testbed.processes import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON_S = 5.0


class Place(NamedTuple):
    """Where the commands run, with a ``kubectl`` on their path."""

    directory: Path
    pods: Path

    def call(self, *arguments: str) -> Called:
        with Command(self.directory, *arguments) as command:
            called = command.result()
        assert called.code == 0, called.err
        assert "Traceback" not in called.err, called.err
        return called

    def left(self) -> list[int]:
        """Return the processes whose home is a pod's, and that do not end soon."""
        mark = f"HOME={self.pods}/".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # it has ended in the meantime
                if any(part.startswith(mark) for part in path.read_bytes().split(b"\0")):
                    found.append(int(path.parent.name))
        with Witness(found) as witness:
            return witness.alive_after(SOON_S)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if not shutil.which("unshare") or subprocess.call(["unshare", "--mount", "--uts", "true"]):
        pytest.skip("needs unshare, and root for the names of the pods")
    programs, directory, pods = (tmp_path / name for name in ("bin", "user", "pods"))
    programs.mkdir()
    directory.mkdir()
    program = programs / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {SUPPORT / "kubectl.py"} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_PODS", str(pods))
    monkeypatch.setenv("STAND_IN_NETWORK", f"127.{1 + os.getpid() % 254}.77")
    yield Place(directory, pods)
    assert not Place(directory, pods).left()


@pytest.mark.long
def test_a_sweep_runs_on_the_pods_of_the_manifest(place: Place) -> None:
    size = ("--nodes", "3", "--name", "lab")
    place.call("manifest", *size, "-o", "pods.json")
    place.call("manifest", *size, "--list-hosts", "-o", "dnnbench.toml")
    manifest = str(place.directory / "pods.json")
    subprocess.run(["kubectl", "apply", "-f", manifest], check=True)
    for pod in place.pods.glob("lab-*"):
        equip(pod)

    place.call("provision", "--nodes", "3", "--dataset", "synthetic-mnist")
    place.call("run", "--nodes", "3", *TINY)
    (outcome,) = outcomes(place.directory)
    assert outcome.status == "ok", outcome
    assert sorted(outcome.placement.values()) == ["lab-0", "lab-1", "lab-2"]
    assert not place.left()

    place.call("launch", "--nodes", "3", "--dataset", "synthetic-mnist")
    assert place.left()
    place.call("stop")
    assert not place.left()
    subprocess.run(["kubectl", "delete", "-f", manifest], check=True)
