"""Standard streams and directories of the process, whatever it was started with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dnnbench.errors import ConfigError

_FLAGS = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)
"""Of what replaces a closed one: writing to standard output then fails, and a result is missed."""

_SIZE_DIGITS = 4


def open_standard_streams() -> None:
    """Open those that the caller closed; else the next file to be opened would take their place.

    Also forgets variables by which a library would look for a terminal that there is not.
    """
    for descriptor, flags in enumerate(_FLAGS):
        if not _is_open(descriptor):
            os.open(os.devnull, flags)  # gets the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    for name in ("COLUMNS", "LINES"):
        if len(os.environ.get(name, "")) > _SIZE_DIGITS:
            del os.environ[name]
    os.environ.pop("MPLBACKEND", None)  # of a notebook, perhaps; figures are only written to files
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # print the rest if the encoding lacks a sign


def discard(descriptor: int) -> None:
    """Let a standard stream lead nowhere: what is left in its buffer is written at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def flush_or_discard() -> None:
    """Write what is left for standard output, or else discard it."""
    try:
        sys.stdout.flush()
    except OSError:
        discard(1)


def ensure_home() -> None:
    """Give a user without a home directory /, as container engines do."""
    try:
        Path.home()
    except RuntimeError:  # no HOME, and an id without an account
        os.environ["HOME"] = "/"


def check_directory() -> None:
    """Refuse a current directory that was deleted: no relative path leads anywhere.

    Raises:
        ConfigError: it was.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "no longer exists", where="current directory", remedy="change to another"
        ) from None


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
