"""Checks of the process at the other end of a local socket: its user, and bounded lines."""

from __future__ import annotations

import socket
import struct
import time

from . import trust

_CREDENTIALS = struct.Struct("3i")  # unix(7), SO_PEERCRED: process, user, group
_CHUNK_BYTES = 4096


def user_of(peer: socket.socket) -> int:
    """Return the user of the process at the other end of a Unix socket."""
    given = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(given)
    return int(uid)


def is_trusted(peer: socket.socket) -> bool:
    """Return whether the other end is a process of this user or of root."""
    return trust.is_trusted_user(user_of(peer))


def read_line(peer: socket.socket, most_bytes: int, deadline_s: float) -> bytes:
    """Read up to the end of a line.

    Args:
        peer: the socket to read from.
        most_bytes: longest line that is accepted.
        deadline_s: for the whole line, on the monotonic clock.

    Raises:
        OSError: the line did not arrive in time, or the connection broke.
        ValueError: the line is too long, or the data ended before it did.
    """
    line = b""
    while b"\n" not in line:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise socket.timeout("timed out")
        peer.settimeout(left_s)
        chunk = peer.recv(_CHUNK_BYTES)
        line += chunk
        if not chunk or len(line) > most_bytes:
            raise ValueError(f"expected a line, found {len(line)} bytes without an end")
    return line.partition(b"\n")[0]
