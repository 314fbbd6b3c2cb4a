"""Refuse files that another user of this host may have created, or could replace.

A path is safe if every directory and link that leads to it belongs to this user or to root, and no
other user may write there. In a directory with the sticky bit, such as /tmp, others may add names
but not touch ours. sshd requires the same of a user's keys (StrictModes) and, as here, does not
check above the home directory, whose owner controls the account anyway.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from .wire import HostProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINKS_AT_MOST = 40  # the kernel's limit
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ROOT = 0


def is_trusted_user(uid: int) -> bool:
    """Return whether a user is this process's user or root."""
    return uid in (_ROOT, os.geteuid())


def named_user(uid: int) -> str:
    """Return a user's name and id, for messages."""
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def refuse_foreign(path: str, home: str | None = None, *, follow: bool = True) -> None:
    """Refuse a path that others own or may write to, or that leads through such a directory.

    A path that does not exist is not refused.

    Args:
        path: an absolute path.
        home: dnnbench's directory, if the path is in it.
        follow: whether to follow a link at the end of the path.

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
        except OSError:  # missing or not readable: reported when it is used
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
    """Refuse foreign paths in dnnbench's directory; see `refuse_foreign`.

    Links at the ends of paths are not followed: an environment's interpreter is the system's.
    """
    for path in paths:
        absolute = os.path.join(home, path)
        if absolute.startswith(os.path.join(home, "")):
            refuse_foreign(absolute, home, follow=False)


def _parts(path: str) -> list[str]:
    return [part for part in path.split(os.sep) if part not in ("", os.curdir)]


def _refuse(path: str, found: os.stat_result, home: str | None, *, is_end: bool) -> None:
    """Refuse one file or directory on the path if it is not safe."""
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
    import shlex  # slow to import, and rarely needed

    raise HostProblem(
        f"{path} may be written to by other users (mode {stat.S_IMODE(found.st_mode):04o})",
        f"chmod go-w {shlex.quote(path)} there" if found.st_uid == os.geteuid() else elsewhere,
    )
