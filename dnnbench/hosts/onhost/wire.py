"""How a command talks: one JSON request on standard input, JSON lines on standard output."""

from __future__ import annotations

import errno
import json
import select
import sys
from typing import Any, Dict

Request = Dict[str, Any]
Answer = Dict[str, Any]

_REQUEST_BYTES = 16 << 20


class HostProblem(Exception):  # noqa: N818 - it becomes a HostError on the control side
    """What the user has to know: ends the command as ``{"error": {"problem", "remedy"}}``."""

    def __init__(self, problem: str, remedy: str | None = None) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem)


def decoded(text: bytes) -> Any:
    """Read JSON that may be anything.

    Raises:
        ValueError: it is not JSON, or lists in lists in lists without end.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_request() -> Request:
    """Read the one line that is the request; a stream may go on after it."""
    line = sys.stdin.buffer.readline(_REQUEST_BYTES)
    shown = repr(line[:80].decode(errors="replace"))
    try:
        request = decoded(line)
    except ValueError as error:
        raise HostProblem(f"expected a JSON request, found {shown}: {error}") from None
    if not isinstance(request, dict):
        raise HostProblem(f"expected a JSON object, found {shown}")
    return request


def write(answer: Answer) -> None:
    """Write one line, now."""
    sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def listener_gone() -> bool:
    """Tell whether whoever would read our answer has gone: sshd closes it with the connection.

    The end of standard input says nothing, for a request may well be all that it holds.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are always told
    return bool(poll.poll(0))


def problem_of(error: OSError) -> HostProblem | None:
    """Say what the user can do about a failure of the file system; None for any other."""
    remedies = {
        errno.ENOSPC: "free some space there, or set [cluster] directory to another disk",
        errno.EDQUOT: "free some of the user's quota, or set [cluster] directory elsewhere",
        errno.EACCES: "set [cluster] directory to one that the user may write to",
        errno.EPERM: "set [cluster] directory to one that the user may write to",
        errno.EROFS: "set [cluster] directory to one that can be written to",
        errno.EEXIST: "set [cluster] directory to a directory",
        errno.ENOTDIR: "set [cluster] directory to a directory",
    }
    if error.errno not in remedies:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return HostProblem(f"{place}{error.strerror}", remedies[error.errno])
