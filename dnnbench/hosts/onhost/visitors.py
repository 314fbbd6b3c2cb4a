"""Connections to a keeper: from controllers, and from commands that ask for its state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from . import peers
from .lines import Lines

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_FLUSH_TIMEOUT_S = 5.0


class Visitors:
    """Connections accepted from a listener."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._lines: list[Lines] = []

    def __iter__(self) -> Iterator[Lines]:
        return iter(self._lines)

    def accept(self) -> None:
        """Accept a connection, from this user or root only."""
        connection, _ = self._listener.accept()
        if not peers.is_trusted(connection):  # its directory is private; this is a second guard
            connection.close()
            return
        fd = connection.detach()
        self._lines.append(Lines(fd, fd))

    def older_than(self, age_s: float) -> list[Lines]:
        """Return the connections that have been open for at least the given time."""
        now_s = time.monotonic()
        return [lines for lines in self._lines if now_s - lines.opened_s >= age_s]

    def drop(self, visitor: Lines) -> None:
        """Close a connection and forget it."""
        visitor.close()
        self._lines = [other for other in self._lines if other is not visitor]

    def say_goodbye(self, farewell: dict[str, Any]) -> None:
        """Send every visitor a last line, and close the connections."""
        for visitor in self._lines:
            tell(visitor, farewell)
            visitor.close()


def tell(visitor: Lines, message: dict[str, Any]) -> None:
    """Send a line and wait, for a limited time, until the visitor has taken it."""
    visitor.send(message)
    visitor.flush_all(_FLUSH_TIMEOUT_S)


def refuse(
    visitor: Lines, problem: str, remedy: str | None = None, *, passing: bool = False
) -> None:
    """Send a visitor the reason for a refusal; ``passing`` if trying again may help."""
    tell(visitor, {"refused": {"problem": problem, "remedy": remedy, "passing": passing}})
