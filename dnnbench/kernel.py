"""Properties of this machine, read from the kernel's files without starting a process.

The standard library alone, for Python 3.7: the tools that are sent to a bare host read them, too.
They import no pathlib, which takes as long as all of them.
"""

from __future__ import annotations

import os
import re
import signal

_CGROUPS = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"


def usable_cores() -> float:
    """Return how many cores this process may use at once: affinity and quotas, so it may be 1.5."""
    return min([float(len(os.sched_getaffinity(0))), *cgroup_quotas()])


def cgroup_quotas(root: str = _CGROUPS, membership: str = _MEMBERSHIP) -> list[float]:
    """Return the CPU quotas, in cores, of this process's control groups and those above them."""
    quotas = []
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    for text in _limits("cpu.max", "cpu", names, root, membership):
        quota, _, period = text.partition(" ")
        # "max 100000" (version 2) and "-1 100000" (version 1) are no limit.
        if all(word.isdigit() and int(word) > 0 for word in (quota, period)):
            quotas.append(int(quota) / int(period))
    return quotas


def memory_bytes() -> int:
    """Return the machine's memory, or its control group's limit if that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = _limits("memory.max", "memory", ("memory.limit_in_bytes",))
    return min([machine, *(int(text) for text in limits if text.isdigit())])


def oom_kills(
    root: str = _CGROUPS, membership: str = _MEMBERSHIP, vmstat: str = "/proc/vmstat"
) -> int:
    """Return how many processes the kernel has killed for lack of memory since it counts.

    In this process's control group if the kernel counts there, whether for the group's limit or for
    the machine's memory; otherwise on the whole machine.
    """
    groups = _limits("memory.events", "memory", ("memory.oom_control",), root, membership)
    for text in (*groups[:1], read(vmstat)):
        found = re.search("^oom_kill ([0-9]+)$", text, re.MULTILINE)
        if found:
            return int(found.group(1))
    return 0


def killed_for_memory(code: int | None, kills_before: int) -> bool:
    """Return whether the kernel killed a process for lack of memory, as far as can be told.

    Args:
        code: with which it ended, negative for a signal; None if it has not.
        kills_before: what `oom_kills` gave before it started, or as it did.
    """
    return code == -signal.SIGKILL and oom_kills() > kills_before


def gpus(devices: str = "/dev") -> int:
    """Return the number of NVIDIA's GPUs whose driver is loaded."""
    return sum(bool(re.fullmatch("nvidia[0-9]+", name)) for name in os.listdir(devices))


def read(path: str) -> str:
    """Return a kernel file's text; empty if this kernel or container has no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _limits(
    unified_name: str,
    controller: str,
    legacy_names: tuple[str, ...],
    root: str = _CGROUPS,
    membership: str = _MEMBERSHIP,
) -> list[str]:
    """Return a limit's texts, control groups 2 or 1, from this process's group up to the root."""
    texts = []
    names: tuple[str, ...]
    for line in read(membership).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            base, names = root, (unified_name,)
        elif controller in controllers.split(","):
            base, names = os.path.join(root, controller), legacy_names
        else:
            continue
        parts = [part for part in group.split("/") if part]
        for depth in range(len(parts), -1, -1):
            folder = os.path.join(base, *parts[:depth])
            texts.append(" ".join(read(os.path.join(folder, name)).strip() for name in names))
    return texts
