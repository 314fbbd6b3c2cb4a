"""``probe``: test whether hosts reach each other, with which latency and bandwidth.

A dialogue of JSON lines that ends with standard input:

- ``{"listen": [first, last]}`` takes a free port of the range -> ``{"port"}``
- ``{"connect": [{"name", "address", "port", "bytes"}], "timeout_s"}`` -> one line per target,
  ``{"name", "round_trip_ms", "bytes_per_s"}`` or ``{"name", "problem"}``

The listener only echoes single bytes and counts those of a stream, for at most two minutes.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import socket
import statistics
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from . import ports
from .wire import HostProblem, decoded, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .wire import Answer, Request

DEADLINE_S = 120.0
_PING, _STREAM = b"p", b"s"
_PINGS = 20
_PINGS_TAKEN = 1000
_STREAM_TAKEN_BYTES = 1 << 28
_STREAM_S = 1.0
_CHUNK_BYTES = 1 << 16
_REQUEST_BYTES = 1 << 20
_VISITORS = 256
_MEASURE_S = 20.0
_CONNECT_AT_ONCE = 64
_TCP_NOTSENT_LOWAT = 25  # linux/tcp.h
_COUNT = struct.Struct("!Q")
_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to its network",
}


def run(request: Request) -> None:
    """Answer requests until standard input ends, the caller is gone, or time is up."""
    del request
    deadline_s = time.monotonic() + DEADLINE_S
    rest = b""
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([sys.stdin.fileno()], [], [], left_s)[0]:
            raise HostProblem(f"no request arrived for {DEADLINE_S:.0f} s")
        chunk = os.read(sys.stdin.fileno(), _CHUNK_BYTES)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _REQUEST_BYTES:
            raise HostProblem(f"expected a request, found {len(rest)} bytes without an end")
        for line in lines:
            asked = decoded(line)
            if "listen" in asked:
                low, high = asked["listen"]
                write({"port": _listen(low, high, deadline_s)})
            else:
                for answer in connect(asked["connect"], asked["timeout_s"]):
                    write(answer)


def _listen(low: int, high: int, deadline_s: float) -> int:
    """Serve on a free port of a range, in a thread that ends with this process; return the port."""
    for port in range(low, high + 1):
        try:
            listener = ports.bound(port)
            listener.listen()
        except OSError:
            continue
        threading.Thread(target=_serve, args=(listener, deadline_s), daemon=True).start()
        return port
    problem = f"no port in {low}-{high} is free"
    raise HostProblem(problem, "set another range in [cluster] ports", "port")


class _Visitor:
    """A connection from another probe: pings, then possibly a stream, whose size is returned."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pings = 0
        self._streamed_bytes: int | None = None

    def serve(self) -> bool:
        """Handle what has arrived; return whether more may come."""
        chunk = self._connection.recv(_CHUNK_BYTES)
        if self._streamed_bytes is not None:
            self._streamed_bytes += len(chunk)
            if not chunk:
                self._connection.send(_COUNT.pack(self._streamed_bytes))
            return bool(chunk) and self._streamed_bytes <= _STREAM_TAKEN_BYTES
        pings = chunk.partition(_STREAM)[0]
        if len(pings) < len(chunk):
            self._streamed_bytes = len(chunk) - len(pings) - 1
        elif pings:
            self._pings += len(pings)
            self._connection.send(pings)
        return bool(chunk) and self._pings <= _PINGS_TAKEN


def _serve(listener: socket.socket, deadline_s: float) -> None:
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while time.monotonic() < deadline_s:
        for key, _ in selector.select(1.0):
            if key.data is None:
                connection, _ = listener.accept()
                if len(selector.get_map()) > _VISITORS:  # anybody may connect
                    connection.close()
                    continue
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ, _Visitor(connection))
                continue
            try:
                stays = key.data.serve()
            except OSError:
                stays = False
            if not stays:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    selector.close()
    listener.close()


def connect(targets: list[dict[str, Any]], timeout_s: float) -> Iterator[Answer]:
    """Connect to all targets at once, then measure them one after the other."""
    if not targets:
        return

    def attempt(target: dict[str, Any]) -> socket.socket | OSError:
        try:
            return socket.create_connection((target["address"], target["port"]), timeout_s)
        except OSError as error:
            return error

    with ThreadPoolExecutor(min(len(targets), _CONNECT_AT_ONCE)) as pool:
        attempts = list(pool.map(attempt, targets))
    for target, found in zip(targets, attempts):
        try:
            if isinstance(found, OSError):
                raise found
            with found:
                measured = _measure(found, target.get("bytes") or 0)
        except OSError as error:
            measured = {"problem": _reason(error, timeout_s)}
        yield {"name": target["name"], **measured}


def _measure(connection: socket.socket, stream_bytes: int) -> Answer:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    round_trips_s = []
    deadline_s = time.perf_counter() + _MEASURE_S
    for _ in range(_PINGS):
        started_s = time.perf_counter()
        if started_s > deadline_s:
            raise socket.timeout
        connection.sendall(_PING)
        _receive(connection, len(_PING))
        round_trips_s.append(time.perf_counter() - started_s)
    return {
        "round_trip_ms": statistics.median(round_trips_s) * 1e3,
        "bytes_per_s": _stream(connection, stream_bytes) if stream_bytes else None,
    }


def _stream(connection: socket.socket, most_bytes: int) -> float:
    """Send for one second, or until the byte limit; return bytes received per second."""
    # Keeps the kernel's buffer short, so that even on a slow line the count comes soon.
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _CHUNK_BYTES)
    chunk = bytes(_CHUNK_BYTES)
    sent = 0
    started_s = time.perf_counter()
    connection.sendall(_STREAM)
    while sent < most_bytes and time.perf_counter() - started_s < _STREAM_S:
        sent += connection.send(chunk[: most_bytes - sent])
    connection.shutdown(socket.SHUT_WR)
    (arrived,) = _COUNT.unpack(_receive(connection, _COUNT.size))
    return float(arrived) / (time.perf_counter() - started_s)


def _receive(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        chunk = connection.recv(size - len(content))
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "it closed the connection")
        content += chunk
    return content


def _reason(error: OSError, timeout_s: float) -> str:
    if isinstance(error, socket.timeout):
        return f"no answer in {timeout_s:g} s"
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)
