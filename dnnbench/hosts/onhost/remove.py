"""``remove``: delete what dnnbench left on a host."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from . import directory, install, state
from .wire import HostProblem

if TYPE_CHECKING:
    from .wire import Answer, Request

# Everything that dnnbench creates, and nothing else: the directory may have other content.
_TREES = ("clusters", "data", "env", "keras", "packages", "tmp", "tools", "wheels")
_FILES = (install.LOG, "id", "lock")  # in this order: the mark late, the lock last
# Another host with the same home may be removing: an environment has tens of thousands of files.
_LOCK_WAIT_S = 60.0


def run(request: Request) -> Answer:
    """Delete dnnbench's directory.

    Returns:
        ``removed``: whether it existed; ``left``: names in it that are not dnnbench's.

    Raises:
        HostProblem: a cluster is running here, or the directory is not dnnbench's.
    """
    home = directory.safe(request["directory"])
    # Without a mark, it is not dnnbench's, or has only the tools that were pushed for this call.
    if directory.identity(home) is None and not set(_listed(home)) <= {"tools", "lock"}:
        raise HostProblem(
            f"{home} was not created by dnnbench", "check [cluster] directory, or remove it by hand"
        )
    if not os.path.isdir(home):
        return {"removed": False, "left": []}
    with directory.locked(home, _LOCK_WAIT_S):
        # Of hosts that share the directory, the first may already have removed it.
        existed = directory.identity(home) is not None
        _refuse_living(home)
        for name in _TREES:
            shutil.rmtree(os.path.join(home, name), ignore_errors=True)
        for name in _FILES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(home, name))
        with contextlib.suppress(OSError):
            os.rmdir(home)
    return {"removed": existed, "left": _listed(home)}


def _refuse_living(home: str) -> None:
    for found in state.all_states(home):
        record = found.read()
        # Hosts may share the directory, and a host cannot see another one's processes.
        elsewhere = record is not None and record.get("hostname") != os.uname().nodename
        if record is not None and (elsewhere or state.is_kept(record)):
            raise HostProblem(
                f"a cluster of {record.get('owner', 'somebody')} is running in {found.path}"
                + (f" on {record.get('hostname')}" if elsewhere else ""),
                "stop it first: dnnbench stop",
            )


def _listed(home: str) -> list[str]:
    try:
        return sorted(os.listdir(home))
    except FileNotFoundError:
        return []
