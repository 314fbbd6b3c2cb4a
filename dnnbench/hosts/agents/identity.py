"""Names of clusters, controllers and owners: who is who on a host."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
from pathlib import Path

from dnnbench.hosts.onhost import process_table


def owner() -> str:
    """Name who launches: the user and this machine."""
    return f"{getpass.getuser()}@{platform.node()}"


def new_cluster_id() -> str:
    """Return a name that no other cluster has."""
    return secrets.token_hex(4)


def this_process() -> str:
    """Name this process as no other one is named, on whichever machine, before or later."""
    return f"{here()}/{os.getpid()}/{process_table.started(os.getpid())}"


def new_controller_id() -> str:
    """Return a name for a controller in this process."""
    return f"{this_process()} {owner()} {new_cluster_id()}"


def process_of(controller: str) -> str:
    """Return the process part of a controller's name."""
    return controller.partition(" ")[0]


def here() -> str:
    """Name where process numbers mean what they mean here: this boot, this container."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot_id}/{Path('/proc/self/ns/pid').readlink()}"
