"""Lines on file descriptors: those that arrive, and those to write."""

from __future__ import annotations

import os
from typing import Final

_READ_BYTES: Final = 1 << 16


class Lines:
    """Splits what arrives on a file descriptor into lines.

    Args:
        fd: to read from.
        longest_bytes: a longer line is split; None to keep lines whole.
    """

    def __init__(self, fd: int, longest_bytes: int | None = None) -> None:
        self.fd = fd
        self.rest = b""
        self._longest_bytes = longest_bytes

    def read(self) -> list[bytes] | None:
        """Return the complete lines that have arrived; None at the end of the file."""
        chunk = os.read(self.fd, _READ_BYTES)
        if not chunk:
            return None
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        if self._longest_bytes and len(self.rest) >= self._longest_bytes:
            lines.append(self.rest)
            self.rest = b""
        return lines


def write_all(fd: int, line: bytes) -> None:
    """Write a line, however many calls it takes."""
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(fd, rest) :]
