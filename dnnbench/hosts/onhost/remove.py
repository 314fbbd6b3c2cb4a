"""``remove``: take away what dnnbench left on a host."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from . import directory, install, state
from .wire import HostProblem

if TYPE_CHECKING:
    from .wire import Answer, Request

# Everything we make, and nothing else: the directory may have been somebody's before.
_TREES = ("clusters", "data", "env", "keras", "packages", "tmp", "tools", "wheels")
_FILES = (install.LOG, "id", "lock")  # in this order: the mark goes late, the lock last
# Another host of the same home may be at it: an environment has tens of thousands of files.
_LOCK_WAIT_S = 60.0


def run(request: Request) -> Answer:
    """Remove dnnbench's directory.

    Returns:
        ``removed``: whether there was one; ``left``: names in it that are not dnnbench's.

    Raises:
        HostProblem: a cluster stands here, or the directory is not dnnbench's.
    """
    home = directory.safe(request["directory"])
    # Without its mark it is a stranger's, or no more than the tools that this very call needed.
    if directory.identity(home) is None and not set(_listed(home)) <= {"tools", "lock"}:
        raise HostProblem(
            f"{home} was not made by dnnbench", "look at [cluster] directory, or remove it by hand"
        )
    if not os.path.isdir(home):
        return {"removed": False, "left": []}
    with directory.locked(home, _LOCK_WAIT_S):
        # Hosts that share the directory may all be asked: the first one has removed it.
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
        # Hosts may share the directory, and one cannot see another one's processes.
        elsewhere = record is not None and record.get("hostname") != os.uname().nodename
        if record is not None and (elsewhere or state.is_kept(record)):
            raise HostProblem(
                f"a cluster of {record.get('owner', 'somebody')} stands in {found.path}"
                + (f" on {record.get('hostname')}" if elsewhere else ""),
                "end it first: dnnbench stop",
            )


def _listed(home: str) -> list[str]:
    try:
        return sorted(os.listdir(home))
    except FileNotFoundError:
        return []
