"""The route to a host's SSH server: TCP, a program, or a channel through another host."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import paramiko

from dnnbench.errors import HostError
from dnnbench.hosts.ssh.settings import FAMILIES

if TYPE_CHECKING:
    from dnnbench.hosts.ssh.settings import Target
    from dnnbench.settings.schema import SshConfig

KEEP_ALIVE_S: Final = 15
KEEP_ALIVES: Final = 4
_END_TIMEOUT_S: Final = 1.0
_CHUNK_BYTES: Final = 4096
_KEPT_CHUNKS: Final = 4
_CHECK_ADDRESS: Final = "check its address in dnnbench.toml, or HostName in ~/.ssh/config"
_CHECK_HOST: Final = "is the host up, and does a firewall block the way?"


class PassingError(HostError):
    """An error that may be gone at the next attempt."""


def dial(target: Target, settings: SshConfig, stack: contextlib.ExitStack) -> socket.socket:
    """Connect to a host by TCP; if the other side dies, the connection fails within a minute.

    Raises:
        HostError: its name cannot be resolved.
        PassingError: it refuses or does not answer.
    """
    place = f"{target.address} port {target.port}"
    try:
        sock = _connected(target, settings.connect_timeout_s)
    except socket.gaierror as error:
        problem = f"the name {target.address} cannot be resolved: {error.strerror}"
        raise HostError(problem, where=target.name, remedy=_CHECK_ADDRESS) from error
    except ConnectionRefusedError as error:
        remedy = "is sshd running there, and on this port?"
        raise PassingError(
            f"{place} refuses connections", where=target.name, remedy=remedy
        ) from error
    except TimeoutError as error:
        problem = f"{place} does not answer within {settings.connect_timeout_s:g} s"
        raise PassingError(problem, where=target.name, remedy=_CHECK_HOST) from error
    except OSError as error:
        problem = f"{place} cannot be reached: {error.strerror}"
        raise PassingError(problem, where=target.name, remedy=_CHECK_HOST) from error
    except UnicodeError as error:  # a label of the name is empty or too long
        problem = f"{target.address} is not a name or an address"
        raise HostError(problem, where=target.name, remedy=_CHECK_ADDRESS) from error
    stack.callback(sock.close)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Keep-alives ask for no answer, so TCP has to notice that nobody acknowledges them.
    unconfirmed_ms = KEEP_ALIVE_S * KEEP_ALIVES * 1000
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unconfirmed_ms)
    return sock


def _connected(target: Target, timeout_s: float) -> socket.socket:
    """Connect to the first of a host's addresses that answers."""
    family = FAMILIES[target.family]
    failure: OSError = OSError("no address")
    for kind, *_, place in socket.getaddrinfo(
        target.address, target.port, family, socket.SOCK_STREAM
    ):
        sock = socket.socket(kind, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            if target.bind_address:
                _bind(sock, target)
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _bind(sock: socket.socket, target: Target) -> None:
    try:
        sock.bind((target.bind_address, 0))
    except OSError as error:
        problem = f"BindAddress {target.bind_address} cannot be used: {error.strerror}"
        raise HostError(
            problem, where=target.name, remedy="name an address of this machine, or none"
        ) from error


class Proxy(NamedTuple):
    """A host's running ProxyCommand.

    Attributes:
        socket: leads to the host.
    """

    socket: socket.socket
    process: subprocess.Popen[bytes]
    errors: deque[bytes]
    reader: threading.Thread

    @property
    def end(self) -> str:
        """How it ended and what it printed last, for a message; empty if neither helps."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_TIMEOUT_S)
        self.reader.join(_END_TIMEOUT_S)
        last = b"".join(self.errors).decode(errors="replace").strip().rpartition("\n")[2].strip()
        if self.process.returncode:
            return f"ended with {self.process.returncode}{last and f': {last}'}"
        return last and f"printed {last!r}"


def spawn(target: Target, stack: contextlib.ExitStack) -> Proxy:
    """Start the host's ProxyCommand, whose input and output lead to the host.

    Paramiko's own implementation is not used: it spins when the program ends.
    """
    assert target.proxy_command
    ours, its = socket.socketpair()
    stack.callback(ours.close)
    with its:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {target.proxy_command}"],
            stdin=its.fileno(),
            stdout=its.fileno(),
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C must reach only dnnbench
        )
    assert process.stderr
    stack.callback(process.stderr.close)
    stack.callback(process.wait)
    stack.callback(process.kill)
    errors: deque[bytes] = deque(maxlen=_KEPT_CHUNKS)
    reader = threading.Thread(target=_drain, args=(process.stderr, errors), daemon=True)
    reader.start()
    return Proxy(ours, process, errors, reader)


def _drain(stream: IO[bytes], keep: deque[bytes]) -> None:
    """Read a stream to its end: unread output would block the command."""
    with contextlib.suppress(OSError, ValueError):  # closed in the meantime
        while chunk := os.read(stream.fileno(), _CHUNK_BYTES):
            keep.append(chunk)


def pass_through(
    transport: paramiko.Transport, target: Target, settings: SshConfig, stack: contextlib.ExitStack
) -> paramiko.Channel:
    """Connect to a host through a jump host.

    Raises:
        HostError: the jump host does not allow it, or cannot reach the host.
    """
    assert target.jump
    jump = target.jump.name
    place = f"{target.address} port {target.port}"
    try:
        channel = transport.open_channel(
            "direct-tcpip",
            (target.address, target.port),
            ("127.0.0.1", 0),
            timeout=settings.connect_timeout_s,
        )
    except paramiko.ChannelException as error:
        if error.code == 1:  # administratively prohibited
            problem = f"{jump} does not forward connections to {place}"
            remedy = f"check AllowTcpForwarding in the sshd_config of {jump}"
            raise HostError(problem, where=target.name, remedy=remedy) from error
        problem = f"{place} cannot be reached from {jump}"
        raise HostError(problem, where=target.name, remedy=_CHECK_HOST) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        problem = f"{place} does not answer {jump} within {settings.connect_timeout_s:g} s"
        raise PassingError(problem, where=target.name, remedy=_CHECK_HOST) from error
    stack.callback(channel.close)
    return channel
