from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dnnbench.trial import machine
from dnnbench.trial.machine import MachineSnapshot, cpu_model, git_commit, snapshot

if TYPE_CHECKING:
    import pytest


def test_a_snapshot_is_plausible_and_survives_json() -> None:
    taken = snapshot()
    assert 0 < taken.cores_usable <= taken.cores
    assert taken.memory_bytes > 2**27
    assert taken.versions["numpy"]
    assert taken.cpu_model
    assert msgspec.json.decode(msgspec.json.encode(taken), type=MachineSnapshot) == taken


def test_a_snapshot_holds_neither_user_nor_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNBENCH_TEST_SECRET", "hunter2hunter2")
    text = msgspec.json.encode(snapshot()).decode()
    assert "hunter2hunter2" not in text
    assert str(Path.home()) not in text
    assert set(MachineSnapshot.__struct_fields__).isdisjoint({"user", "environ", getpass.getuser()})


def test_looking_does_not_import_tensorflow() -> None:
    code = (
        "import sys; from dnnbench.trial.machine import snapshot; snapshot();"
        "sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("no-such-package",))
    assert snapshot().versions["no-such-package"] is None


def test_the_architecture_stands_in_for_a_missing_processor_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert cpu_model(str(cpuinfo)) == "Some CPU @ 2 GHz"
    assert cpu_model(str(tmp_path / "missing")) == os.uname().machine


def test_a_commit_is_named_only_in_a_checkout(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "file").write_text("1")
    for arguments in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *arguments], check=True)
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "file").write_text("2")
    assert git_commit(tmp_path) == f"{commit}-dirty"
