"""A connection to a host: opened with retries, used for commands and files, always closed."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

import paramiko

from dnnbench.errors import HostError, host_errors_of_kind
from dnnbench.hosts.connectors.commands import Stream, complete
from dnnbench.hosts.connectors.interface import RUN_TIMEOUT_S, Completed, shortened
from dnnbench.hosts.ssh import known_hosts, shell
from dnnbench.hosts.ssh.algorithms import signatures
from dnnbench.hosts.ssh.files import push
from dnnbench.hosts.ssh.login import log_in
from dnnbench.hosts.ssh.route import (
    KEEP_ALIVE_S,
    PassingError,
    Proxy,
    dial,
    pass_through,
    spawn,
)
from dnnbench.hosts.ssh.sessions import lost, no_session, start

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.hosts.ssh.settings import Target
    from dnnbench.settings.schema import SshConfig

T = TypeVar("T")
_PATIENCE_S: Final = 30.0
"""No new attempt later than this after the first: a dead host is recognized within a minute."""
_FIRST_PAUSE_S: Final = 0.5

_slots: dict[object, threading.Semaphore] = {}


class Connection:
    """An open connection to a host over SSH."""

    def __init__(
        self, target: Target, transport: paramiko.Transport, stack: contextlib.ExitStack
    ) -> None:
        self.host = target.name
        self._transport = transport
        self._stack = stack
        self._lock = threading.Lock()
        self._sftp: paramiko.SFTPClient | None = None
        self._home: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is open, as far as this side knows."""
        return bool(self._transport.is_active())

    def run(
        self,
        command: str,
        stdin: bytes = b"",
        timeout_s: float = RUN_TIMEOUT_S,
        *,
        name: str | None = None,
    ) -> Completed:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        shown = name or shortened(command)
        channel = start(self._transport, self.host, command, shown)
        done = complete(channel, self.host, shown, stdin=stdin, timeout_s=timeout_s)
        if done.code < 0 and not self.is_open:
            raise lost(self.host, f"`{shown}` ran")
        return done

    def open(self, command: str, *, name: str | None = None) -> Stream:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        shown = name or shortened(command)
        return Stream(start(self._transport, self.host, command, shown), self.host, shown)

    def push(self, local: Path | bytes, remote: str) -> None:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        with self._lock:
            self._sftp = self._sftp or self._open_sftp()
            push(self, self._sftp, local, self._absolute(remote))

    def refuse_unusable(self) -> None:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        shell.refuse_unusable(self)

    def close(self) -> None:
        """Close the connection and those that it goes through. Idempotent."""
        self._stack.close()

    def _open_sftp(self) -> paramiko.SFTPClient:
        try:
            sftp = paramiko.SFTPClient.from_transport(self._transport)
            sftp.get_channel().settimeout(RUN_TIMEOUT_S)
        except paramiko.ChannelException as error:
            raise no_session(self.host, "SFTP cannot be used", error) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostError(
                f"SFTP cannot be used: {str(error).rstrip('.')}",
                where=self.host,
                remedy="its sshd_config needs a line `Subsystem sftp internal-sftp`",
            ) from error
        return sftp

    def _absolute(self, remote: str) -> str:
        if not remote.startswith("~/"):
            return remote
        if self._home is None:
            self._home = self.run('printf %s "$HOME"').stdout.decode(errors="replace")
        return self._home + remote[1:]


def connect(target: Target, settings: SshConfig) -> Connection:
    """Connect to a host and log in.

    Problems that may pass are retried with growing pauses: a refused, reset or dropped connection.
    A wrong key, an unknown or changed host key, an unknown name and a silent server are not.

    Raises:
        HostError: all attempts failed; with cause and remedy.
    """
    return _try(target, settings, lambda: _open(target, settings))


def fetch_host_key(target: Target, settings: SshConfig) -> known_hosts.HostKey:
    """Ask a host for its key, which may be unknown; that of a jump host must be known.

    Raises:
        HostError: it cannot be asked.
    """

    def fetch() -> known_hosts.HostKey:
        with contextlib.ExitStack() as stack:
            return _shown_key(_negotiate(target, settings, stack))

    return _try(target, settings, fetch)


def _try(target: Target, settings: SshConfig, once: Callable[[], T]) -> T:
    began_s = time.monotonic()
    tries = 0
    while True:
        tries += 1
        try:
            with _slot(target, settings):
                return once()
        except PassingError as error:
            if tries >= settings.tries or time.monotonic() - began_s > _PATIENCE_S:
                problem = error.problem if tries == 1 else f"{error.problem} ({tries} tries)"
                failed = HostError(problem, where=target.name, remedy=error.remedy)
                raise failed.of_kind(error.kind) from error
        # Jitter spreads the retries of many connections that were dropped at once.
        time.sleep(_FIRST_PAUSE_S * 2 ** (tries - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _slot(target: Target, settings: SshConfig) -> threading.Semaphore:
    """Return the semaphore that bounds the connections being opened to one server.

    Each sshd drops connections when too many of its own have not logged in yet. Therefore, hosts
    behind one jump host wait for each other, and no host waits for a dead one elsewhere.
    """
    first = target
    while first.jump:
        first = first.jump
    key = (first.proxy_command or (first.address, first.port), settings.connections)
    return _slots.setdefault(key, threading.Semaphore(settings.connections))


def _open(target: Target, settings: SshConfig) -> Connection:
    with contextlib.ExitStack() as stack:
        with host_errors_of_kind("ssh-unreachable"):
            transport = _negotiate(target, settings, stack)
        with host_errors_of_kind("host-key"):
            known_hosts.verify(target, _shown_key(transport))
        with host_errors_of_kind("ssh-auth"):
            log_in(transport, target, settings.login_timeout_s)
            _await_session(transport, target, settings.login_timeout_s)
        transport.set_keepalive(KEEP_ALIVE_S)
        return Connection(target, transport, stack.pop_all())


def _await_session(transport: paramiko.Transport, target: Target, timeout_s: float) -> None:
    """Wait for an answer from the process that serves the session.

    Only once it runs does sshd stop counting the connection as one that has not logged in.
    """
    watchdog = threading.Timer(timeout_s, transport.close)
    watchdog.daemon = True
    watchdog.start()
    try:
        transport.global_request("keepalive@openssh.com", wait=True)
    except (paramiko.SSHException, OSError, EOFError):
        transport.close()
    finally:
        watchdog.cancel()
    if not transport.is_active():
        problem = "the connection ends right after the login"
        remedy = "see the log of its sshd; may the user log in there?"
        raise PassingError(problem, where=target.name, remedy=remedy)


def _negotiate(
    target: Target, settings: SshConfig, stack: contextlib.ExitStack
) -> paramiko.Transport:
    """Reach a server and negotiate session keys; its host key is not verified yet."""
    way = _way(target, settings, stack)
    proxy = way if isinstance(way, Proxy) else None
    transport = paramiko.Transport(
        proxy.socket if proxy else way, disabled_algorithms=target.algorithms.disabled
    )
    stack.callback(transport.close)
    options = transport.get_security_options()
    known = [entry for entry in known_hosts.entries(target) if not entry.marker]
    kinds = {kind for entry in known for kind in signatures(entry.key.kind)}
    options.key_types = sorted(options.key_types, key=lambda kind: kind not in kinds)
    # One deadline of ours for banner and keys, as paramiko's own come too late.
    transport.banner_timeout = transport.handshake_timeout = 2 * settings.login_timeout_s
    ended = threading.Event()
    transport.start_client(ended)
    in_time = ended.wait(settings.login_timeout_s)
    if not in_time or not transport.is_active():
        end = proxy.end if proxy else ""
        raise _failed(transport, target, settings, in_time=in_time, end=end)
    _refuse_small_key(transport, target)
    return transport


def _refuse_small_key(transport: paramiko.Transport, target: Target) -> None:
    key, least = transport.get_remote_server_key(), target.algorithms.least_rsa_bits
    if key.get_name() == "ssh-rsa" and key.get_bits() < least:
        problem = f"its RSA key has {key.get_bits()} bits, RequiredRSASize requires {least}"
        remedy = "give the host a key of another kind: ssh-keygen -A"
        raise HostError(problem, where=target.name, remedy=remedy)


def _way(
    target: Target, settings: SshConfig, stack: contextlib.ExitStack
) -> socket.socket | paramiko.Channel | Proxy:
    if target.jump:
        try:
            jump = _open(target.jump, settings)
        except HostError as error:
            problem = f"jump host {error.where}: {error.problem}"
            failed = type(error)(problem, where=target.name, remedy=error.remedy)
            raise failed.of_kind(error.kind) from error
        stack.callback(jump.close)
        return pass_through(jump._transport, target, settings, stack)  # noqa: SLF001 - same module
    if target.proxy_command:
        return spawn(target, stack)
    return dial(target, settings, stack)


def _failed(
    transport: paramiko.Transport, target: Target, settings: SshConfig, *, in_time: bool, end: str
) -> HostError:
    """Return an error for a failed negotiation; `end` describes the end of a ProxyCommand."""
    place = f"{target.address} port {target.port}"
    if end and not transport.remote_version:
        remedy = f"try it by hand: {target.proxy_command}"
        kind = PassingError if in_time else HostError
        return kind(f"the ProxyCommand {end}", where=target.name, remedy=remedy)
    error = transport.get_exception()
    greeted = bool(transport.remote_version)
    if not in_time:
        what = "does not agree on keys" if greeted else "accepts connections but sends nothing"
        problem = f"{place} {what} for {settings.login_timeout_s:g} s"
        remedy = "is it an SSH server, and not overloaded?"
        return HostError(problem, where=target.name, remedy=remedy)
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        remedy = "update the SSH server there"
        return HostError(f"no common algorithm: {error}", where=target.name, remedy=remedy)
    if not greeted and error:
        error = error.__context__ or error  # the end of the connection is wrapped
    # A timeout was that of a second line, so the first line was not SSH's.
    if error is None or (
        isinstance(error, (EOFError, OSError)) and not isinstance(error, TimeoutError)
    ):
        problem = f"{place} closes the connection before the login"
        remedy = "is it an SSH server, is it overloaded (MaxStartups), does it block this machine?"
        if target.proxy_command:
            remedy = f"try its ProxyCommand by hand: {target.proxy_command}"
        return PassingError(problem, where=target.name, remedy=remedy)
    if greeted:
        return HostError(f"{place}: {error}", where=target.name)
    return HostError(f"{place} does not speak SSH", where=target.name, remedy="check its port")


def _shown_key(transport: paramiko.Transport) -> known_hosts.HostKey:
    key = transport.get_remote_server_key()
    return known_hosts.HostKey(key.get_name(), key.get_base64())
