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
from dnnbench.kernel import memory_bytes, read, usable_cores
from dnnbench.trial.bounds import (
    Count,
    PositiveCount,
    PositiveQuantity,
    Quantity,
    Text,
)
from dnnbench.trial.role_environment import recorded

PACKAGES: Final = ("tensorflow", "keras", "numpy")
_ELSE: Final = {"tensorflow": "tensorflow-cpu"}  # the same without its GPU part
_SOURCE: Final = Path(dnnbench.__file__).resolve().parent.parent
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


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
    return MachineSnapshot(
        taken_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        hostname=platform.node(),
        cpu_model=cpu_model(),
        cores=os.cpu_count() or 1,
        cores_usable=usable_cores(),
        memory_bytes=memory_bytes(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=installed_versions(),
        git_commit=git_commit(_SOURCE),
        load_average=load_average(),
        boot_id=read(_BOOT_ID).strip() or None,
        variables=recorded(os.environ),
    )


def installed_versions() -> dict[str, str | None]:
    """Return package -> version, of dnnbench and of what it trains with; None if not installed."""
    versions = {name: _version(name) or _version(_ELSE.get(name, name)) for name in PACKAGES}
    return {"dnnbench": dnnbench.__version__, **versions}


def load_average() -> tuple[float, float, float]:
    """Return the run queue's mean length over 1, 5 and 15 minutes."""
    return os.getloadavg()


def cpu_model(cpuinfo: str = "/proc/cpuinfo") -> str:
    """Return the processor's name; its architecture where the kernel gives no name, as on ARM."""
    for line in read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.machine()


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
