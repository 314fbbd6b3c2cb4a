"""Sessions of an SSH connection: one per command, as the server allows them."""

from __future__ import annotations

from typing import Final

import paramiko

from dnnbench.errors import HostError

SESSIONS: Final = 3
"""Most sessions on one connection at once: a conversation, SFTP, and a command."""
_OPEN_TIMEOUT_S: Final = 30.0


def lost(host: str, when: str) -> HostError:
    """Return an error for a connection that was lost."""
    remedy = "is the host still up?"
    error = HostError(f"the connection was lost while {when}", where=host, remedy=remedy)
    return error.of_kind("disconnected")


def no_session(host: str, problem: str, error: paramiko.ChannelException) -> HostError:
    """Return an error for a host that opens no further session."""
    remedy = f"set MaxSessions in its sshd_config to {SESSIONS} or more"
    return HostError(f"{problem}: {error.text}", where=host, remedy=remedy)


def start(transport: paramiko.Transport, host: str, command: str, shown: str) -> paramiko.Channel:
    """Start a command in a session of its own.

    Raises:
        HostError: it cannot be started.
    """
    try:
        channel = transport.open_session(timeout=_OPEN_TIMEOUT_S)
        channel.exec_command(command)
    except paramiko.ChannelException as error:
        raise no_session(host, f"`{shown}` cannot be started", error) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        if not transport.is_active():
            raise lost(host, f"`{shown}` was started") from error
        problem = f"`{shown}` cannot be started: {error}"
        raise HostError(problem, where=host) from error
    return channel
