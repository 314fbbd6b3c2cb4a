"""A role's process: its end with its parent, its memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

EXIT_ORPHANED = 3
"""A role's exit code when its agent is gone."""
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends: Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(EXIT_ORPHANED)


def release_unused_memory() -> None:
    """Give back to the kernel what setting up has used and freed, where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def redirect_standard_streams(log_fd: int) -> None:
    """Read nothing, write to the log."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
