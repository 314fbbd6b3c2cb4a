"""Refuse what another user of this host may have put somewhere, or could exchange.

A path is safe if every directory and link that leads to it belongs to this user or to root, and
nobody else may write there; in a directory with the sticky bit, such as /tmp, others may add names
but not touch ours. sshd asks the same of a user's keys (StrictModes) and, as here, does not look
above the home directory: who owns what is there, owns the account.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from .wire import HostProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINKS_AT_MOST = 40  # as the kernel
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ROOT = 0


def is_trusted_user(uid: int) -> bool:
    """Tell whether a user is this process's own, or root."""
    return uid in (_ROOT, os.geteuid())


def named_user(uid: int) -> str:
    """Name a user for people."""
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def refuse_foreign(path: str, home: str | None = None, *, follow: bool = True) -> None:
    """Refuse a path that others own or may write to, or that leads through such a place.

    What is not there is not refused.

    Args:
        path: absolute.
        home: dnnbench's directory, if it is this that leads to the path.
        follow: whether a link at the very end is followed, too.

    Raises:
        HostProblem: it is not safe.
    """
    account = os.path.realpath(os.path.expanduser("~"))
    here, todo, links = os.sep, _parts(path), 0
    while todo:
        name = todo.pop(0)
        if name == os.pardir:
            here = os.path.dirname(here)
            continue
        here = os.path.join(here, name)
        try:
            found = os.lstat(here)
            is_link = stat.S_ISLNK(found.st_mode)
            target = os.readlink(here) if is_link else ""
        except OSError:  # not there, or not for us: whoever uses it says so
            return
        is_end = not todo
        if not account.startswith(os.path.join(here, "")):
            _refuse(here, found, home, is_end=is_end)
        if is_link and (follow or not is_end):
            links += 1
            if links > _LINKS_AT_MOST:
                return
            todo = _parts(target) + todo
            here = os.sep if os.path.isabs(target) else os.path.dirname(here)


def refuse_foreign_parts(home: str, paths: Iterable[str]) -> None:
    """Refuse paths as `refuse_foreign` does, if they are in dnnbench's directory.

    Links at their ends are not followed: an environment's interpreter is the system's.
    """
    for path in paths:
        absolute = os.path.join(home, path)
        if absolute.startswith(os.path.join(home, "")):
            refuse_foreign(absolute, home, follow=False)


def _parts(path: str) -> list[str]:
    return [part for part in path.split(os.sep) if part not in ("", os.curdir)]


def _refuse(path: str, found: os.stat_result, home: str | None, *, is_end: bool) -> None:
    """Refuse one file or directory on the way."""
    elsewhere = "set [cluster] directory to one of your own, such as ~/.dnnbench"
    if not is_trusted_user(found.st_uid):
        is_inside = home is not None and path.startswith(home + os.sep)
        raise HostProblem(
            f"{path} belongs to another user, {named_user(found.st_uid)}",
            "find out why, then remove it there" if is_inside else elsewhere,
        )
    is_shared = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX and not is_end
    if stat.S_ISLNK(found.st_mode) or is_shared or not found.st_mode & _OTHERS_WRITE:
        return
    import shlex  # it takes a while, and all is well but for once

    raise HostProblem(
        f"{path} may be written to by other users (mode {stat.S_IMODE(found.st_mode):04o})",
        f"chmod go-w {shlex.quote(path)} there" if found.st_uid == os.geteuid() else elsewhere,
    )
