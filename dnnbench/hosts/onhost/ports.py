"""Tests of which ports of a host are free."""

from __future__ import annotations

import socket


def bound(port: int) -> socket.socket:
    """Return a socket bound to a port on all addresses, of both families if the host has both.

    ``SO_REUSEADDR`` ignores connections that have ended. ``SO_REUSEPORT`` is not set, so that a
    port held by any process is refused, even if that process does not listen.

    Raises:
        OSError: the port is taken.
    """
    try:
        bare = socket.socket(socket.AF_INET6)
        bare.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        everywhere = "::"
    except OSError:  # a kernel without IPv6
        bare = socket.socket(socket.AF_INET)
        everywhere = "0.0.0.0"  # noqa: S104 - as TensorFlow's servers do
    try:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bare.bind((everywhere, port))
    except OSError:
        bare.close()
        raise
    return bare


def is_free(port: int) -> bool:
    """Return whether a port could be bound now."""
    try:
        bound(port).close()
    except OSError:
        return False
    return True


def used(low: int, high: int) -> list[int]:
    """Return the taken ports of a range, which includes both ends."""
    return [port for port in range(low, high + 1) if not is_free(port)]
