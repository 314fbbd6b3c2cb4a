"""Unique names of clusters, controllers and processes, and the owner's name."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
from pathlib import Path

from dnnbench.hosts.onhost import process_table


def owner() -> str:
    """Return the owner of clusters launched here: the user and this machine."""
    return f"{getpass.getuser()}@{platform.node()}"


def new_cluster_id() -> str:
    """Return a name that no other cluster has."""
    return secrets.token_hex(4)


def this_process() -> str:
    """Return a name for this process that no other has, on any machine at any time."""
    return f"{here()}/{os.getpid()}/{process_table.started(os.getpid())}"


def new_controller_id() -> str:
    """Return a name for a controller in this process."""
    return f"{this_process()} {owner()} {new_cluster_id()}"


def process_of(controller: str) -> str:
    """Return the process part of a controller's name."""
    return controller.partition(" ")[0]


def here() -> str:
    """Return a name for the scope of process numbers: this boot and this PID namespace."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot_id}/{Path('/proc/self/ns/pid').readlink()}"
