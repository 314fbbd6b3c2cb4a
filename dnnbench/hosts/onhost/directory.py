"""The user's directory on a host in which dnnbench keeps everything."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Any

from . import trust
from .wire import HostProblem, listener_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

_IDENTITY = "id"
_LOCK = "lock"
_COMPLETE = "complete.json"
_LOCK_POLL_S = 0.1
_PRIVATE = 0o700


def expanded(path: str) -> str:
    """Return the directory's absolute path; ``~`` is the user's home."""
    return os.path.abspath(os.path.expanduser(path))


def safe(path: str, *parts: str) -> str:
    """Return the directory's absolute path after checking that no other user can write there.

    Args:
        path: the directory.
        parts: paths in it, relative or absolute, that are about to be used.

    Raises:
        HostProblem: another user could, or owns one of the paths.
    """
    directory = expanded(path)
    trust.refuse_foreign(directory)
    trust.refuse_foreign_parts(directory, parts)
    return directory


def made(path: str) -> str:
    """Create the directory if it is missing, and return its path; checked as in `safe`."""
    directory = safe(path)
    os.makedirs(directory, _PRIVATE, exist_ok=True)
    return safe(path)


def identity(directory: str) -> str | None:
    """Return the directory's mark; None if it is not dnnbench's."""
    try:
        with open(os.path.join(directory, _IDENTITY), encoding="ascii") as file:
            mark = file.read().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return mark if len(mark) == 32 and all(c in "0123456789abcdef" for c in mark) else None  # noqa: PLR2004 - hexadecimal digits of 128 bits


def marked(directory: str) -> str:
    """Return the directory's mark, giving it one if it has none.

    All hosts that share the directory see the same mark.
    """
    found = identity(directory)
    if found is None:
        path = os.path.join(directory, _IDENTITY)
        aside = f"{path}.{os.uname().nodename}.{os.getpid()}"
        write_text(aside, os.urandom(16).hex() + "\n")
        try:
            # A link appears whole, and only if no other host has made one.
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            os.unlink(aside)
        found = identity(directory)
    if found is None:
        raise HostProblem(
            f"{directory}/{_IDENTITY} is not dnnbench's",
            "name a directory of its own in [cluster] directory",
        )
    return found


def is_complete(path: str) -> bool:
    """Return whether the directory at ``path`` was completed."""
    return os.path.exists(os.path.join(path, _COMPLETE))


def mark_complete(path: str, about: dict[str, Any]) -> None:
    """Mark the directory at ``path`` as complete; to be called last."""
    file = os.path.join(path, _COMPLETE)
    write_text(file + ".aside", json.dumps(about, indent=1) + "\n")
    os.replace(file + ".aside", file)


def write_text(path: str, text: str) -> None:
    """Write a file and flush it to the disk."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(directory: str, wait_s: float) -> Iterator[int]:
    """Hold the directory's lock.

    Yields:
        The lock's file descriptor: a process that inherits it also holds the lock.

    Raises:
        HostProblem: another process holds it for too long, or the caller is gone.
    """
    path = os.path.join(directory, _LOCK)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline_s = time.monotonic() + wait_s
        while not _locked_now(fd):
            if listener_gone():
                raise HostProblem("the caller is gone")
            if time.monotonic() > deadline_s:
                holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
                raise HostProblem(
                    f"{holder} has held {path} for more than {wait_s:.0f} s",
                    "wait for it, or end that process",
                )
            time.sleep(_LOCK_POLL_S)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        yield fd
    finally:
        os.close(fd)


def _locked_now(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
