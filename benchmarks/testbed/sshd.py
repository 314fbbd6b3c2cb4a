"""Real OpenSSH servers on 127.0.0.2, 127.0.0.3, …, as the current user and without root.

``hosts(12, directory)`` starts 12 machines as far as SSH can see: each has an address, a port, a
host key and, unless they share one, a home directory. When done, everything that ran on them is
ended, including daemons.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.testbed.processes import Witness, descendants
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.schema import SshConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_MARK = "DNNBENCH_TEST_SSHD"
_SSH_PORT = 22
_START_TIMEOUT_S = 20.0


class NotInstalledError(RuntimeError):
    """OpenSSH is not installed on this machine."""


class Site(NamedTuple):
    """The place of a server: an address, and a way to reach it.

    Attributes:
        port: None for a free port.
        within: a prefix that runs the command after it in that place.
        open_socket: creates a socket that can reach the address.
    """

    address: str
    port: int | None = None
    within: tuple[str, ...] = ()
    open_socket: Callable[[], socket.socket] = socket.socket


class Sshd(NamedTuple):
    """One server.

    Attributes:
        home: ``$HOME`` after a login; the shell still starts in the account's own home.
        host_key: path of its private host key; the public one is beside it.
    """

    name: str
    address: str
    port: int
    home: Path
    log: Path
    host_key: Path
    process: subprocess.Popen[bytes]
    open_socket: Callable[[], socket.socket]

    @property
    def known_hosts_line(self) -> str:
        """Return what ssh-keyscan would print."""
        kind, key = self.host_key.with_suffix(".pub").read_text().split()[:2]
        place = self.address if self.port == _SSH_PORT else f"[{self.address}]:{self.port}"
        return f"{place} {kind} {key}\n"

    def stop(self) -> None:
        """Cut all connections and end the server, so that no connection is possible."""
        self.process.send_signal(signal.SIGSTOP)
        self.drop()
        self.process.kill()
        self.process.wait()

    def drop(self) -> None:
        """Cut all connections; the server keeps running, and so does everything started on them."""
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)


class Hosts(NamedTuple):
    """Servers that a client with ``key`` may log in to.

    Attributes:
        known_hosts: holds the host keys of all of them.
        ssh_config: a configuration with all of them by name.
        mark: in the environment of every process started by a login.
    """

    sshds: list[Sshd]
    user: str
    key: Path
    known_hosts: Path
    ssh_config: Path
    mark: str

    def processes(self, name: str = "") -> list[int]:
        """Return the living processes started by logins, without sshd's own.

        Args:
            name: only this host's; None for those of all.
        """
        return _marked(f"{self.mark}/{name}/" if name else self.mark)

    def crash(self, name: str) -> None:
        """Take a host down: nothing runs there any more, and no login is possible."""
        self._named(name).stop()
        _kill_marked(f"{self.mark}/{name}/")

    def restart(self, name: str) -> None:
        """Restart a server that was stopped."""
        old = self._named(name)
        new = old._replace(process=_serve(old.process.args))
        self.sshds[self.sshds.index(old)] = new
        _await_port(new, time.monotonic() + _START_TIMEOUT_S)

    def _named(self, name: str) -> Sshd:
        return next(sshd for sshd in self.sshds if sshd.name == name)

    @property
    def configs(self) -> list[HostConfig]:
        """Return the hosts as dnnbench.toml would name them."""
        return [
            HostConfig(
                name=sshd.name,
                address=sshd.address,
                port=sshd.port,
                user=self.user,
                key=str(self.key),
            )
            for sshd in self.sshds
        ]

    @property
    def settings(self) -> SshConfig:
        """Return settings that do not touch the files of the user who runs the test."""
        return SshConfig(config=str(self.ssh_config), known_hosts=str(self.known_hosts))


@contextlib.contextmanager
def hosts(
    count: int,
    directory: Path,
    *,
    share_home: bool = False,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    first: int = 2,
    sites: Sequence[Site] = (),
) -> Iterator[Hosts]:
    """Start servers, and end them with everything that runs on them when done.

    Args:
        count: number of servers.
        directory: for keys, logs and home directories; created if it does not exist.
        share_home: one home directory for all, as with NFS.
        environment: of every session, for example another ``PATH``.
        options: lines for sshd_config.
        first: last part of the first address.
        sites: places of the servers, if not on loopback addresses.

    Raises:
        NotInstalledError: sshd or ssh-keygen is missing.
        RuntimeError: a server ended at once; with its log.
    """
    program = find_program()
    mark = uuid.uuid4().hex
    directory.mkdir(parents=True, exist_ok=True)
    names = [f"node{number}" for number in range(1, count + 1)]
    key = directory / "client_key"
    _make_keys([key, *(directory / f"{name}_host_key" for name in names)])
    authorized = directory / "authorized_keys"
    shutil.copyfile(key.with_suffix(".pub"), authorized)
    sites = sites or [Site(f"127.0.0.{first + number}") for number in range(count)]
    sshds: list[Sshd] = []
    try:
        for name, site in zip(names, sites, strict=True):
            home = directory / ("home" if share_home else f"{name}_home")
            home.mkdir(exist_ok=True)
            variables = {**(environment or {}), "HOME": str(home), _MARK: f"{mark}/{name}/"}
            sshds.append(_start(program, directory, name, site, variables, options=options))
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        for sshd in sshds:
            _await_port(sshd, deadline_s)
        yield _described(sshds, directory, key, mark)
    finally:
        _end(sshds, mark)


def find_program() -> str:
    """Return the path of sshd.

    Raises:
        NotInstalledError: it, or ssh-keygen, is missing.
    """
    # Not in an ordinary user's PATH; and sshd must be called by its absolute path.
    program = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        raise NotInstalledError("OpenSSH's sshd and ssh-keygen are not installed")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in before login
    return program


def _make_keys(paths: Sequence[Path]) -> None:
    makers = [
        subprocess.Popen(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)])
        for path in paths
    ]
    codes = [maker.wait() for maker in makers]
    if any(codes):
        raise RuntimeError(f"ssh-keygen ended with {max(codes)}")


def _start(
    program: str,
    directory: Path,
    name: str,
    site: Site,
    variables: Mapping[str, str],
    *,
    options: Sequence[str],
) -> Sshd:
    address, port = site.address, site.port or _free_port(site.address)
    log = directory / f"{name}.log"
    host_key = directory / f"{name}_host_key"
    config = directory / f"{name}_sshd_config"
    given = " ".join(f'"{variable}={value}"' for variable, value in variables.items())
    lines = [
        *options,  # of an option given twice, the first one counts
        f"ListenAddress {address}:{port}",
        f"HostKey {host_key}",
        f"AuthorizedKeysFile {directory / 'authorized_keys'}",
        "StrictModes no",  # the owners of a test's directories vary
        "UsePAM no",
        "UseDNS no",
        "PidFile none",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "Subsystem sftp internal-sftp",
        "MaxSessions 100",
        "LogLevel VERBOSE",
        f"SetEnv {given}",
    ]
    config.write_text("\n".join(lines) + "\n")
    process = _serve([*site.within, program, "-D", "-f", str(config), "-E", str(log)])
    home = Path(variables["HOME"])
    return Sshd(name, address, port, home, log, host_key, process, site.open_socket)


def _serve(command: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(sshd: Sshd, deadline_s: float) -> None:
    while time.monotonic() < deadline_s:
        with contextlib.suppress(ConnectionRefusedError), sshd.open_socket() as probe:
            probe.settimeout(5.0)
            probe.connect((sshd.address, sshd.port))
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            sshd.process.wait(0.005)  # returns early only if the server has ended
            break
    log = sshd.log.read_text() if sshd.log.exists() else "no log"
    raise RuntimeError(f"{sshd.name}'s sshd does not listen on {sshd.address}:{sshd.port}: {log}")


def _described(sshds: list[Sshd], directory: Path, key: Path, mark: str) -> Hosts:
    user = getpass.getuser()
    known_hosts = directory / "known_hosts"
    known_hosts.write_text("".join(sshd.known_hosts_line for sshd in sshds))
    ssh_config = directory / "ssh_config"
    ssh_config.write_text(
        "".join(
            f"Host {sshd.name}\n  HostName {sshd.address}\n  Port {sshd.port}\n" for sshd in sshds
        )
        + f"Host *\n  User {user}\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {known_hosts}\n"
    )
    return Hosts(sshds, user, key, known_hosts, ssh_config, mark)


def _end(sshds: Sequence[Sshd], mark: str) -> None:
    """Kill the servers, what they forked, and every daemon that carries their mark."""
    roots = [sshd.process.pid for sshd in sshds if sshd.process.poll() is None]
    for pid in roots:
        os.kill(pid, signal.SIGSTOP)  # not reaped, so the pid is still its own
    _kill([pid for root in roots for pid in (root, *descendants(root))])
    _kill_marked(mark)
    for sshd in sshds:
        sshd.process.wait()


@contextlib.contextmanager
def listener() -> Iterator[tuple[socket.socket, dict[str, Any]]]:
    """Listen on a port; yield the socket and the fields of a host's entry for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, {"address": "127.0.0.1", "port": server.getsockname()[1]}


def make_key(path: Path, passphrase: str = "") -> Path:
    """Create a private key and return its path."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def _kill(pids: Sequence[int]) -> None:
    with Witness(pids) as witness:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        witness.alive_after(5.0)


def _kill_marked(mark: str) -> None:
    """Kill all processes that carry a mark, until no more are found."""
    while found := _marked(mark):
        _kill(found)


def _marked(mark: str) -> list[int]:
    pids = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            if f"\0{_MARK}={mark}".encode() in b"\0" + path.read_bytes():
                pids.append(int(path.parent.name))
    return pids
