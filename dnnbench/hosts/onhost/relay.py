"""``relay``: connect standard input and output, a connection, to a keeper's Unix socket.

It ends when either side does. A keeper drops a controller that it has not heard for a while; a
reader that takes nothing for a minute counts as gone, too, even if SSH has not noticed yet.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from typing import TYPE_CHECKING

from . import peers, trust
from .wire import HostProblem

if TYPE_CHECKING:
    from .wire import Request

_CHUNK_BYTES = 1 << 16
_STDIN, _STDOUT = 0, 1
_STALLED_S = 60


def run(request: Request) -> None:
    """Copy in both directions until either side ends.

    Raises:
        HostProblem: no keeper is running.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as keeper:
        try:
            folder, name = os.path.split(request["socket"])
            os.chdir(folder)  # an address has 108 bytes, a path may have more
            keeper.connect(name)
        except OSError as error:
            problem = f"no cluster is running at {request['socket']}: {error.strerror}"
            remedy = "see dnnbench status for this host"
            raise HostProblem(problem, remedy, "disconnected") from None
        if not peers.is_trusted(keeper):
            raise HostProblem(
                f"{request['socket']} is held by another user, "
                f"{trust.named_user(peers.user_of(keeper))}",
                "run dnnbench stop, and set [cluster] directory to one of your own",
            )
        _copy(keeper.fileno())


def _copy(keeper: int) -> None:
    """Copy with plain blocking writes: the keeper itself never blocks."""
    poll = select.poll()
    targets = {_STDIN: keeper, keeper: _STDOUT}
    for source in targets:
        poll.register(source, select.POLLIN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # like an end: a controller connects again
        while all(_moved(source, targets[source]) for source, _ in poll.poll()):
            pass


def _moved(source: int, target: int) -> bool:
    """Copy what has arrived; return whether there was anything."""
    chunk = memoryview(os.read(source, _CHUNK_BYTES))
    rest = chunk
    signal.alarm(_STALLED_S)  # ends this process
    while rest:
        rest = rest[os.write(target, rest) :]
    signal.alarm(0)
    return bool(chunk)
