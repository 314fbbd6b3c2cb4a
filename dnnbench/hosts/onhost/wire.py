"""A command's protocol: one JSON request on standard input, JSON lines on standard output."""

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
    """A problem for the user to solve: ends the command as ``{"error": {"problem", "remedy"}}``.

    Attributes:
        kind: as in ``dnnbench.errors.CauseKind``; None where it is of no kind.
    """

    def __init__(self, problem: str, remedy: str | None = None, kind: str | None = None) -> None:
        self.problem = problem
        self.remedy = remedy
        self.kind = kind
        super().__init__(problem)


def decoded(text: bytes) -> Any:
    """Decode JSON from an untrusted source.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_request() -> Request:
    """Read the request, which is one line; more data may follow it."""
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
    """Return whether the reader of our answer is gone: sshd closes its end with the connection.

    The end of standard input does not show it, as the request may be its whole content.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are always reported
    return bool(poll.poll(0))


def problem_of(error: OSError) -> HostProblem | None:
    """Return a file system error as a problem with a remedy; None for any other error."""
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
    return HostProblem(f"{place}{error.strerror}", remedies[error.errno], kind_of(error))


def kind_of(error: OSError) -> str | None:
    """Return the kind of a file system error: ``disk-full``, or none."""
    return "disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
