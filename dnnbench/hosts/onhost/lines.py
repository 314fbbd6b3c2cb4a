"""Read and write lines on file descriptors without ever blocking."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

_CHUNK_BYTES = 1 << 16
_LINE_BYTES = 16 << 20
"""Longest line; a peer that sends a longer one counts as ended."""


class Lines:
    """A connection, or the two pipes of a child.

    Attributes:
        opened_s: time of its creation, on the monotonic clock.
    """

    def __init__(self, reading: int, writing: int) -> None:
        for fd in (reading, writing):
            os.set_blocking(fd, False)
        self.opened_s = time.monotonic()
        self.is_open = True
        self.reading = reading
        self.writing = writing
        self._arrived: list[bytes] = []  # the beginning of an unfinished line
        self._arrived_bytes = 0
        self._leaving = bytearray()

    @property
    def is_pending(self) -> bool:
        """Whether data is waiting to be written."""
        return bool(self._leaving)

    @property
    def is_overlong(self) -> bool:
        """Whether more of a line has arrived than the longest line may have."""
        return self._arrived_bytes > _LINE_BYTES

    def read(self) -> list[bytes] | None:
        """Return the complete lines that have arrived; None at the end or if a line is too long."""
        if not self.is_open:  # the descriptor may be another file's by now
            return None
        try:
            chunk = os.read(self.reading, _CHUNK_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not chunk:
            return None
        first, *rest = chunk.split(b"\n")
        self._arrived.append(first)
        self._arrived_bytes += len(first)
        if not rest:
            return None if self.is_overlong else []
        *lines, last = b"".join(self._arrived), *rest
        self._arrived, self._arrived_bytes = [last], len(last)
        return lines

    def send(self, message: Any) -> None:
        """Write a message as a line of JSON, now or as soon as it can be taken."""
        self.write(json.dumps(message, separators=(",", ":")).encode())

    def write(self, line: bytes) -> None:
        """Write a line, now or as soon as it can be taken."""
        self._leaving += line + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what can be taken now; drop it if the reader is gone."""
        try:
            while self._leaving and self.is_open:
                del self._leaving[: os.write(self.writing, self._leaving)]
        except BlockingIOError:
            pass  # later
        except OSError:  # `read` reports the end
            self._leaving.clear()

    def flush_all(self, timeout_s: float) -> None:
        """Wait until everything is written, for at most the given time."""
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        if self.is_pending:
            poll.register(self.writing, select.POLLOUT)
        while self.is_pending and time.monotonic() < deadline_s:
            poll.poll(max(deadline_s - time.monotonic(), 0) * 1000)
            self.flush()

    def close(self) -> None:
        """Close both directions. Idempotent."""
        if self.is_open:
            self.is_open = False
            self._leaving.clear()
            for fd in {self.reading, self.writing}:
                os.close(fd)
