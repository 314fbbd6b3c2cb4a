"""Lines in and out of file descriptors, without ever waiting for the other side."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

_CHUNK_BYTES = 1 << 16
_LINE_BYTES = 16 << 20
"""No line is longer; what sends a longer one is taken for ended."""


class Lines:
    """A connection, or the two pipes of a child.

    Attributes:
        opened_s: when, on the monotonic clock.
    """

    def __init__(self, reading: int, writing: int) -> None:
        for fd in (reading, writing):
            os.set_blocking(fd, False)
        self.opened_s = time.monotonic()
        self.is_open = True
        self.reading = reading
        self.writing = writing
        self._arrived: list[bytes] = []  # of a line that has not ended
        self._arrived_bytes = 0
        self._leaving = bytearray()

    @property
    def is_pending(self) -> bool:
        """Tell whether something waits to be written."""
        return bool(self._leaving)

    @property
    def is_overlong(self) -> bool:
        """Tell whether more has arrived of a line than any line may have."""
        return self._arrived_bytes > _LINE_BYTES

    def read(self) -> list[bytes] | None:
        """Return the complete lines that have arrived; None at the end, or for too long a line."""
        if not self.is_open:  # the number may be another file's by now
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
        """Write what can be taken now; what nobody reads any more is dropped."""
        try:
            while self._leaving and self.is_open:
                del self._leaving[: os.write(self.writing, self._leaving)]
        except BlockingIOError:
            pass  # later
        except OSError:  # its end shows when it is read
            self._leaving.clear()

    def flush_all(self, timeout_s: float) -> None:
        """Wait until everything is written, or for so long."""
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        if self.is_pending:
            poll.register(self.writing, select.POLLOUT)
        while self.is_pending and time.monotonic() < deadline_s:
            poll.poll(max(deadline_s - time.monotonic(), 0) * 1000)
            self.flush()

    def close(self) -> None:
        """Close both directions. Safe to do twice."""
        if self.is_open:
            self.is_open = False
            self._leaving.clear()
            for fd in {self.reading, self.writing}:
                os.close(fd)
