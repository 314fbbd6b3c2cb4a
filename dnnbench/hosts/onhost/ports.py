"""Which ports of a host are free."""

from __future__ import annotations

import socket


def bound(port: int) -> socket.socket:
    """Return a socket bound to a port on all addresses, of both families where there are two.

    ``SO_REUSEADDR`` lets it pass connections that have ended, ``SO_REUSEPORT`` is not set: a port
    that somebody holds, whether or not he listens, is refused.

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
    """Tell whether a port could be bound now."""
    try:
        bound(port).close()
    except OSError:
        return False
    return True


def used(low: int, high: int) -> list[int]:
    """List the ports of a range that are taken, both ends included."""
    return [port for port in range(low, high + 1) if not is_free(port)]
