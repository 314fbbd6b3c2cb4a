"""How a command talks: one JSON request on standard input, JSON lines on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any, Dict

Request = Dict[str, Any]
Answer = Dict[str, Any]


class HostProblem(Exception):  # noqa: N818 - it becomes a HostError on the control side
    """What the user has to know: ends the command as ``{"error": {"problem", "remedy"}}``."""

    def __init__(self, problem: str, remedy: str | None = None) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem)


def read_request() -> Request:
    """Read the one line that is the request; a stream may go on after it."""
    line = sys.stdin.readline()
    try:
        request = json.loads(line)
    except ValueError as error:
        raise HostProblem(f"expected a JSON request, found {line[:80]!r}: {error}") from None
    if not isinstance(request, dict):
        raise HostProblem(f"expected a JSON object, found {line[:80]!r}")
    return request


def write(answer: Answer) -> None:
    """Write one line, now."""
    sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
    sys.stdout.flush()
