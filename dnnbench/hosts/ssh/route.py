"""The way to a host's SSH server: TCP, a program, or a channel through another host."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING, Final

import paramiko

from dnnbench.errors import HostError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from dnnbench.hosts.ssh.settings import Target
    from dnnbench.settings.schema import SshConfig

KEEP_ALIVE_S: Final = 15
KEEP_ALIVES: Final = 4
_CHECK_ADDRESS: Final = "check its address in dnnbench.toml, or HostName in ~/.ssh/config"
_CHECK_HOST: Final = "is the host up, and does no firewall stand between?"


class PassingError(HostError):
    """Trouble that may be over at the next try."""


def dial(target: Target, settings: SshConfig, stack: ExitStack) -> socket.socket:
    """Connect to a host by TCP; the connection is found dead a minute after the other side is.

    Raises:
        HostError: its name cannot be resolved.
        PassingError: it refuses or does not answer.
    """
    place = f"{target.address} port {target.port}"
    try:
        sock = socket.create_connection(
            (target.address, target.port), timeout=settings.connect_timeout_s
        )
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
    # Keep-alives ask for no answer, so it is for TCP to notice that nobody confirms them.
    unconfirmed_ms = KEEP_ALIVE_S * KEEP_ALIVES * 1000
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unconfirmed_ms)
    return sock


def spawn(target: Target, stack: ExitStack) -> socket.socket:
    """Start the host's ProxyCommand, and talk to it as to a host.

    Not paramiko's own: that one spins when the program ends.
    """
    assert target.proxy_command
    ours, its = socket.socketpair()
    stack.callback(ours.close)
    with its:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {target.proxy_command}"],
            stdin=its.fileno(),
            stdout=its.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us to deal with
        )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return ours


def pass_through(
    transport: paramiko.Transport, target: Target, settings: SshConfig, stack: ExitStack
) -> paramiko.Channel:
    """Have a jump host connect to a host.

    Raises:
        HostError: it may not, or cannot.
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
            problem = f"{jump} does not let connections to {place} through"
            remedy = f"AllowTcpForwarding in the sshd_config of {jump}"
            raise HostError(problem, where=target.name, remedy=remedy) from error
        problem = f"{place} cannot be reached from {jump}"
        raise HostError(problem, where=target.name, remedy=_CHECK_HOST) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        problem = f"{place} does not answer {jump} within {settings.connect_timeout_s:g} s"
        raise PassingError(problem, where=target.name, remedy=_CHECK_HOST) from error
    stack.callback(channel.close)
    return channel
