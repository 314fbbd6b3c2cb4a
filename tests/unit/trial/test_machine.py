from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dnnbench.trial import machine
from dnnbench.trial.machine import (
    MachineSnapshot,
    cgroup_quotas,
    cpu_model,
    git_commit,
    oom_kills,
    snapshot,
)

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


def test_quotas_of_the_unified_hierarchy_are_read_up_to_the_root(tmp_path: Path) -> None:
    group = tmp_path / "fs" / "outer" / "inner"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("150000 100000\n")
    (group.parent / "cpu.max").write_text("max 100000\n")
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    assert cgroup_quotas(tmp_path / "fs", membership) == [1.5]


def test_quotas_of_the_old_hierarchy_are_read_too(tmp_path: Path) -> None:
    group = tmp_path / "cpu,cpuacct"
    group.mkdir()
    (tmp_path / "cpu").symlink_to(group)
    (group / "cpu.cfs_quota_us").write_text("50000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    membership = tmp_path / "membership"
    membership.write_text("4:cpu,cpuacct:/\n2:memory:/\n")
    assert cgroup_quotas(tmp_path, membership) == [0.5]
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert cgroup_quotas(tmp_path, membership) == []


def test_kills_for_lack_of_memory_are_those_of_the_own_group_or_else_of_the_machine(
    tmp_path: Path,
) -> None:
    membership, vmstat = tmp_path / "membership", tmp_path / "vmstat"
    membership.write_text("0::/outer/inner\n")
    vmstat.write_text("nr_free_pages 17\noom_kill 5\n")
    assert oom_kills(tmp_path, membership, vmstat) == 5
    group = tmp_path / "outer" / "inner"
    group.mkdir(parents=True)
    (group.parent / "memory.events").write_text("oom 9\noom_kill 9\n")  # of others, too
    (group / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert oom_kills(tmp_path, membership, vmstat) == 2
    assert oom_kills(tmp_path / "none", membership, tmp_path / "none") == 0


def test_the_architecture_stands_in_for_a_missing_processor_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert cpu_model(cpuinfo) == "Some CPU @ 2 GHz"
    assert cpu_model(tmp_path / "missing") == os.uname().machine


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
