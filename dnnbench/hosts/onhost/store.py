"""Store the tools in dnnbench's directory, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os

from . import trust
from .wire import HostProblem

_FULL = (errno.ENOSPC, errno.EDQUOT)


def keep(path: str, tools: bytes) -> None:
    """Store the tools, which were just pushed and checked.

    Args:
        path: ``<directory>/tools/<name>``.
        tools: their content.

    Raises:
        HostProblem: the directory is not safe, or cannot be written to.
    """
    path = os.path.abspath(path)
    folder = os.path.dirname(path)
    aside = f"{path}.{os.uname().nodename}.{os.getpid()}"  # hosts may share the directory
    trust.refuse_foreign(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        trust.refuse_foreign(folder)
        try:
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(tools)
            os.rename(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise
    except OSError as error:
        raise HostProblem(
            f"cannot write to {os.path.dirname(folder)}: {error.strerror}",
            "free some space there, or set [cluster] directory to another disk"
            if error.errno in _FULL
            else "set [cluster] directory to one that the user may write to",
        ) from None
