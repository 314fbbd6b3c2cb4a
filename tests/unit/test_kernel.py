from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.kernel import cgroup_quotas, gpus, oom_kills

if TYPE_CHECKING:
    from pathlib import Path


def test_quotas_of_the_unified_hierarchy_are_read_up_to_the_root(tmp_path: Path) -> None:
    group = tmp_path / "fs" / "outer" / "inner"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("150000 100000\n")
    (group.parent / "cpu.max").write_text("max 100000\n")
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    assert cgroup_quotas(str(tmp_path / "fs"), str(membership)) == [1.5]


def test_quotas_of_the_old_hierarchy_are_read_too(tmp_path: Path) -> None:
    group = tmp_path / "cpu,cpuacct"
    group.mkdir()
    (tmp_path / "cpu").symlink_to(group)
    (group / "cpu.cfs_quota_us").write_text("50000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    membership = tmp_path / "membership"
    membership.write_text("4:cpu,cpuacct:/\n2:memory:/\n")
    assert cgroup_quotas(str(tmp_path), str(membership)) == [0.5]
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert cgroup_quotas(str(tmp_path), str(membership)) == []


def test_kills_for_lack_of_memory_are_those_of_the_own_group_or_else_of_the_machine(
    tmp_path: Path,
) -> None:
    membership, vmstat = tmp_path / "membership", tmp_path / "vmstat"
    membership.write_text("0::/outer/inner\n")
    vmstat.write_text("nr_free_pages 17\noom_kill 5\n")
    assert oom_kills(*map(str, (tmp_path, membership, vmstat))) == 5
    group = tmp_path / "outer" / "inner"
    group.mkdir(parents=True)
    (group.parent / "memory.events").write_text("oom 9\noom_kill 9\n")  # of others, too
    (group / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert oom_kills(*map(str, (tmp_path, membership, vmstat))) == 2
    (tmp_path / "memory" / "a").mkdir(parents=True)
    (tmp_path / "memory" / "a" / "memory.oom_control").write_text("under_oom 0\noom_kill 3\n")
    old = tmp_path / "old"
    old.write_text("4:memory:/a\n")
    assert oom_kills(*map(str, (tmp_path, old, vmstat))) == 3
    assert oom_kills(*map(str, (tmp_path / "none", membership, tmp_path / "none"))) == 0


def test_only_the_devices_of_gpus_count(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpus(str(tmp_path)) == 2
