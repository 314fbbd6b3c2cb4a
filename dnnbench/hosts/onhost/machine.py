"""Properties of this machine, read from the kernel's files without starting a process."""

from __future__ import annotations

import os
import re
import socket

# TensorFlow's x86-64 wheels are built with -mavx ("avx_linux" in its .bazelrc), since 1.6
# (https://www.tensorflow.org/install/pip, hardware requirements). The names are the kernel's.
NEEDED_FLAGS = {"x86_64": ("avx",)}

_CGROUPS = "/sys/fs/cgroup"


def missing_cpu_flags(machine: str, cpuinfo: str = "/proc/cpuinfo") -> list[str]:
    """Return the processor features that TensorFlow's wheels need and this processor lacks."""
    needed = NEEDED_FLAGS.get(machine, ())
    for line in _read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return sorted(set(needed).difference(value.split()))
    return []  # the kernel lists no features


def usable_cores() -> float:
    """Return the number of cores that a process of this user may use: affinity and quotas."""
    quotas = []
    for text in _limits("cpu.max", "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us"):
        quota, _, period = text.partition(" ")
        if quota.isdigit() and period.isdigit():  # neither "max" nor "-1"
            quotas.append(int(quota) / int(period))
    return min([float(len(os.sched_getaffinity(0))), *quotas])


def gpus(devices: str = "/dev") -> int:
    """Return the number of NVIDIA's GPUs whose driver is loaded."""
    return len([name for name in os.listdir(devices) if re.fullmatch("nvidia[0-9]+", name)])


def memory_bytes() -> int:
    """Return the machine's memory, or its control group's limit if that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = _limits("memory.max", "memory", "memory.limit_in_bytes")
    return min([machine, *(int(text) for text in limits if text.isdigit())])


def oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since it counts.

    Counted in this process's control group if the kernel does so, whether for the group's limit or
    for the machine's memory; otherwise on the whole machine.
    """
    groups = _limits("memory.events", "memory", "memory.oom_control")
    for text in (*reversed(groups), _read("/proc/vmstat")):
        words = text.split()
        for name, value in zip(words, words[1:]):
            if name == "oom_kill" and value.isdigit():
                return int(value)
    return 0


def addresses(net: str = "/proc/net") -> list[str]:
    """Return the addresses of this host, including loopback."""
    found = set()
    above = ""
    for line in _read(os.path.join(net, "fib_trie")).splitlines():
        # A leaf is two lines: its address, then its type.
        if line.strip() == "/32 host LOCAL":
            found.add(above.rpartition(" ")[2])
        above = line
    for line in _read(os.path.join(net, "if_inet6")).splitlines():
        packed = bytes.fromhex(line.split()[0])
        found.add(socket.inet_ntop(socket.AF_INET6, packed))
    return sorted(found)


def _limits(unified_name: str, controller: str, *legacy_names: str) -> list[str]:
    """Return a limit's values, control groups 2 or 1, from this process's group up to the root."""
    values = []
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        names: tuple[str, ...]
        if not controllers:
            base, names = _CGROUPS, (unified_name,)
        elif controller in controllers.split(","):
            base, names = os.path.join(_CGROUPS, controller), legacy_names
        else:
            continue
        parts = group.strip("/").split("/")
        for depth in range(len(parts) + 1):
            folder = os.path.join(base, *parts[:depth])
            values.append(" ".join(_read(os.path.join(folder, name)).strip() for name in names))
    return values


def _read(path: str) -> str:
    """Return a kernel file's text; empty if this kernel or container has no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
