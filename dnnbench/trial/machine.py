"""A snapshot of a machine: processor, memory, load and versions, without anything secret.

Of environment variables, those are read that change how TensorFlow computes, and no others.
"""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import msgspec

import dnnbench
from dnnbench.trial.bounds import (
    Count,
    PositiveCount,
    PositiveQuantity,
    Quantity,
    Text,
)
from dnnbench.trial.role_environment import recorded

PACKAGES: Final = ("tensorflow", "keras", "numpy")
_SOURCE: Final = Path(dnnbench.__file__).resolve().parent.parent
_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class MachineSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine at one moment.

    Attributes:
        taken_at: UTC, ISO 8601.
        cores: logical ones that the machine has.
        cores_usable: that this process may use: affinity and control-group quota, so it may be 1.5.
        memory_bytes: of the machine, or of the control group where that is less.
        versions: package -> version; None where it is not installed.
        git_commit: of the dnnbench source, ``-dirty`` where changed; None outside a checkout.
        load_average: over 1, 5 and 15 minutes.
        boot_id: random, of each start of its kernel: containers and namespaces that have it in
            common share one machine. None where the kernel gives none.
        variables: environment variables that a user set and that may change what is measured.
    """

    taken_at: Text
    hostname: Text
    cpu_model: Text
    cores: PositiveCount
    cores_usable: PositiveQuantity
    memory_bytes: Count
    kernel: Text
    python: Text
    versions: dict[Text, Text | None]
    git_commit: Text | None
    load_average: tuple[Quantity, Quantity, Quantity]
    boot_id: Text | None = None
    variables: dict[Text, Text] = {}


def snapshot() -> MachineSnapshot:
    """Take a snapshot of this machine."""
    versions = {name: _version(name) for name in PACKAGES}
    if "tensorflow" in versions:  # tensorflow-cpu is the same without its GPU part
        versions["tensorflow"] = versions["tensorflow"] or _version("tensorflow-cpu")
    return MachineSnapshot(
        taken_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        hostname=platform.node(),
        cpu_model=cpu_model(),
        cores=os.cpu_count() or 1,
        cores_usable=usable_cores(),
        memory_bytes=memory_bytes(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={"dnnbench": dnnbench.__version__, **versions},
        git_commit=git_commit(_SOURCE),
        load_average=load_average(),
        boot_id=_read(_BOOT_ID).strip() or None,
        variables=recorded(os.environ),
    )


def gpus(devices: Path = Path("/dev")) -> int:
    """Return the number of NVIDIA's GPUs whose driver is loaded."""
    return sum(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia*"))


def load_average() -> tuple[float, float, float]:
    """Return the run queue's mean length over 1, 5 and 15 minutes."""
    return os.getloadavg()


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name; its architecture where the kernel gives no name, as on ARM."""
    for line in _read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.machine()


def usable_cores() -> float:
    """Return how many cores this process may use at once."""
    affinity = float(len(os.sched_getaffinity(0)))
    return min([affinity, *cgroup_quotas()])


def memory_bytes() -> int:
    """Return the memory that this process could use."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files = _cgroup_files("memory.max", "memory", "memory.limit_in_bytes")
    limits = [int(text) for text in map(_read, files) if text.strip().isdigit()]
    return min([machine, *limits])


def oom_kills(
    root: Path = _CGROUP_ROOT,
    membership: Path = Path("/proc/self/cgroup"),
    vmstat: Path = Path("/proc/vmstat"),
) -> int:
    """Return how many processes the kernel has killed for lack of memory since it counts.

    In this process's control group if it counts them, else on the whole machine.
    """
    files = _cgroup_files("memory.events", "memory", "memory.oom_control", root, membership)
    for file in (*files[:1], vmstat):
        for line in _read(file).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return int(value)
    return 0


def cgroup_quotas(
    root: Path = _CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")
) -> list[float]:
    """Return the CPU quotas, in cores, of this process's control groups and those above them."""
    quotas = []
    for file in _cgroup_files("cpu.max", "cpu", "cpu.cfs_quota_us", root, membership):
        words = _read(file).split()
        if file.name == "cpu.cfs_quota_us":
            words += _read(file.with_name("cpu.cfs_period_us")).split()
        # "max 100000" (version 2) and "-1" (version 1) are no limit.
        if len(words) == 2 and all(word.isdigit() and int(word) > 0 for word in words):  # noqa: PLR2004 - quota and period
            quotas.append(int(words[0]) / int(words[1]))
    return quotas


def git_commit(source: Path) -> str | None:
    """Return the commit of a checkout; None where ``source`` is not a checkout, or git fails."""
    import shutil  # a report never asks for this
    import subprocess  # nor for this

    git = shutil.which("git")
    if git is None or not (source / ".git").exists():
        return None
    command = [
        git,
        "-C",
        str(source),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None


def _version(package: str) -> str | None:
    # Metadata and not an import: importing tensorflow takes seconds.
    from importlib import metadata  # a report never asks for this

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cgroup_files(
    unified_name: str,
    controller: str,
    legacy_name: str,
    root: Path = _CGROUP_ROOT,
    membership: Path = Path("/proc/self/cgroup"),
) -> list[Path]:
    """List a limit's files, version 2 or 1, from this process's group up to the root."""
    files = []
    for line in _read(membership).splitlines():
        _, controllers, group = line.split(":", maxsplit=2)
        if not controllers:
            base, name = root, unified_name
        elif controller in controllers.split(","):
            base, name = root / controller, legacy_name
        else:
            continue
        here = base / group.lstrip("/")
        files += [folder / name for folder in (here, *here.parents) if folder.is_relative_to(base)]
    return files


def _read(path: Path) -> str:
    """Return a kernel file's text; nothing where this kernel or container has no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
