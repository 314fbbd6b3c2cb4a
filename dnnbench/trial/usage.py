"""Use of a machine's processors over a period: by its roles, by others, by the hypervisor."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.trial.bounds import (
    PositiveCount,
    PositiveQuantity,
    PositiveSeconds,
    Quantity,
    Seconds,
)
from dnnbench.trial.machine import load_average

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROC: Final = Path("/proc")
_CPUFREQ: Final = Path("/sys/devices/system/cpu")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class HostUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Use of a host's machine during the measured part of a trial.

    A container sees the whole machine's use, that of other containers included.

    Attributes:
        duration_s: of the period.
        cores: online ones of the machine.
        load_before: run queue's mean length over the minute before the period.
        load_after: likewise, before its end.
        busy_s: CPU seconds of all processes on the machine.
        roles_s: of these, those of the trial's roles on this host.
        steal_s: CPU seconds that a hypervisor gave to others.
        clock_mhz: mean of the cores' clocks at start and end; None where it cannot be read.
    """

    duration_s: PositiveSeconds
    cores: PositiveCount
    load_before: Quantity
    load_after: Quantity
    busy_s: Seconds
    roles_s: Seconds
    steal_s: Seconds
    clock_mhz: tuple[PositiveQuantity, PositiveQuantity] | None = None


class Reading(NamedTuple):
    """Counters of a machine at one moment; differences of two make a `HostUse`."""

    at_s: float
    load: float
    busy_s: float
    steal_s: float
    roles_s: float
    clock_mhz: float | None


def read_use(roles: Iterable[int], proc: Path = _PROC, cpufreq: Path = _CPUFREQ) -> Reading | None:
    """Read the counters now; None where the kernel does not give them.

    Args:
        roles: process ids.
        proc: mount point of the kernel's process file system.
        cpufreq: directory with one ``cpu<n>`` per core.
    """
    try:
        first = (proc / "stat").read_text(encoding="ascii").partition("\n")[0].split()
        user, nice, system, _, _, irq, softirq, steal = map(int, first[1:9])
    except (OSError, ValueError):
        return None
    return Reading(
        at_s=time.monotonic(),
        load=load_average()[0],
        busy_s=(user + nice + system + irq + softirq) / _TICKS_PER_S,
        steal_s=steal / _TICKS_PER_S,
        roles_s=sum(_cpu_s(proc / str(pid) / "stat") for pid in roles),
        clock_mhz=_clock_mhz(proc / "cpuinfo", cpufreq),
    )


def use_between(before: Reading, after: Reading) -> HostUse:
    """Return the use of the machine between two readings."""
    clocks = before.clock_mhz, after.clock_mhz
    return HostUse(
        duration_s=max(after.at_s - before.at_s, 1e-9),
        cores=os.cpu_count() or 1,
        load_before=before.load,
        load_after=after.load,
        busy_s=max(after.busy_s - before.busy_s, 0.0),
        roles_s=max(after.roles_s - before.roles_s, 0.0),
        steal_s=max(after.steal_s - before.steal_s, 0.0),
        clock_mhz=(clocks[0], clocks[1]) if clocks[0] and clocks[1] else None,
    )


def _cpu_s(stat: Path) -> float:
    """Return the CPU seconds of a process, all threads; 0 if it is gone."""
    try:
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    except (OSError, ValueError, IndexError):
        return 0.0


def _clock_mhz(cpuinfo: Path, cpufreq: Path) -> float | None:
    clocks = []
    for file in cpufreq.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        with suppress(OSError, ValueError):
            clocks.append(int(file.read_text(encoding="ascii")) / 1000.0)
    if not clocks:
        with suppress(OSError, ValueError):
            lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
            clocks = [float(x.partition(":")[2]) for x in lines if x.startswith("cpu MHz")]
    mean = sum(clocks) / len(clocks) if clocks else 0.0
    return mean if mean > 0.0 else None
