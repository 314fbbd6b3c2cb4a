"""``facts``: describe a host, and what is already provisioned there.

It is the first command on every host, so it must take no longer than Python's own start.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from dnnbench import kernel

from . import directory, machine, ports, state

if TYPE_CHECKING:
    from .wire import Answer, Request

_BLOCK_BYTES = 1 << 20


def run(request: Request) -> Answer:
    """Return the facts about this host.

    Args:
        request: ``directory``; ``ports`` [first, last]; ``environments`` keys; ``data`` list of
            {path, sha256}, relative to the directory; ``python``, the interpreter to look for, or
            null; ``source_is_given``, see `uv.state`.
    """
    started_s = time.time()
    home = directory.made(request["directory"])
    system = os.uname()
    low, high = request["ports"]
    used = ports.used(low, high)
    disk = os.statvfs(home)
    wanted = request.get("environments") or []
    complete = [key for key in wanted if has_environment(home, key)]
    answer = {
        "directory": home,
        "directory_id": directory.marked(home),
        "host_id": state.host_id(),
        "hostname": system.nodename,
        "ends_with_command": "SLURM_STEP_ID" in os.environ,
        "user": _user(),
        "machine": system.machine,
        "cpu_flags_missing": machine.missing_cpu_flags(system.machine),
        "cores": kernel.usable_cores(),
        "gpus": kernel.gpus(),
        "memory_bytes": kernel.memory_bytes(),
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "addresses": machine.addresses(),
        "server_address": _server_address(),
        "ports_free": high - low + 1 - len(used),
        "ports_used": used,
        "environments": complete,
        "packages": _packages(home),
        "data": {file["path"]: _data_state(home, file) for file in request.get("data") or []},
        "pythons": [] if complete else _pythons(request.get("python")),
        "uv": None if complete else _uv(bool(request.get("source_is_given"))),
    }
    # The middle of the time it took, to which the caller compares its own.
    answer["clock_s"] = (started_s + time.time()) / 2
    return answer


def has_environment(home: str, key: str) -> bool:
    """Return whether an environment is complete and its Python exists; refuse a foreign one."""
    path = os.path.join(home, "env", key)
    python = os.path.join(path, "bin", "python")
    directory.safe(home, path, python)
    return directory.is_complete(path) and os.access(python, os.X_OK)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not have a name
        return str(os.getuid())


def _server_address() -> str | None:
    """Return the address at which the caller reached this host."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    return words[2] if len(words) > 2 else None  # noqa: PLR2004 - client, its port, server, its port


def _packages(home: str) -> list[str]:
    folder = os.path.join(home, "packages")
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    directory.safe(home, *(os.path.join(folder, name) for name in names))
    return [name for name in names if directory.is_complete(os.path.join(folder, name))]


def _data_state(home: str, file: dict[str, Any]) -> str:
    import hashlib

    directory.safe(home, file["path"])
    digest = hashlib.sha256()
    try:
        with open(os.path.join(home, file["path"]), "rb") as content:
            for block in iter(lambda: content.read(_BLOCK_BYTES), b""):
                digest.update(block)
    except OSError:
        return "missing"
    return "ok" if digest.hexdigest() == file["sha256"] else "wrong"


def _uv(source_is_given: bool) -> str:
    from . import uv  # shutil is slow to import

    return uv.state(source_is_given=source_is_given)


def _pythons(asked: str | None) -> list[Answer]:
    from . import pythons  # subprocess is slow to import

    return pythons.found(asked)
