"""Whom to connect to, and how: a host of the inventory together with the user's ~/.ssh/config."""

from __future__ import annotations

import getpass
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import paramiko

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import SshConfig

DEFAULT_PORT: Final = 22
_GLOBAL_KNOWN_HOSTS: Final = "/etc/ssh/ssh_known_hosts"
_DEPTH: Final = 16  # of files that include each other, as in OpenSSH
_JUMP: Final = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^]]+\]|[^:]+)(?::(?P<port>\d+))?/?$"
)


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a connection to a host takes.

    Attributes:
        name: of the host in the inventory; of a jump host, as ~/.ssh/config calls it.
        address: name or number of the machine, as `jump` or else this machine sees it.
        keys: paths of private keys, in the order in which they are tried.
        identities_only: offer no other key of the SSH agent than these.
        known_hosts: files with host keys; a missing one is an empty one.
        host_key_alias: under which the host's key is known, if not under its address.
        jump: the host to go through.
        proxy_command: whose standard input and output lead to the host.
    """

    name: str
    address: str
    port: int
    user: str
    keys: tuple[str, ...]
    identities_only: bool
    known_hosts: tuple[str, ...]
    host_key_alias: str | None = None
    jump: Target | None = None
    proxy_command: str | None = None

    @property
    def known_as(self) -> str:
        """Return the host's name in known_hosts."""
        if self.host_key_alias:
            return self.host_key_alias
        return self.address if self.port == DEFAULT_PORT else f"[{self.address}]:{self.port}"


class _Named(NamedTuple):
    """A host as the inventory or a ProxyJump names it; what is None is looked up."""

    alias: str
    name: str
    port: int | None = None
    user: str | None = None
    key: str | None = None


def resolve(hosts: Iterable[HostConfig], settings: SshConfig) -> dict[str, Target]:
    """Find out how to reach hosts, each by its name.

    A host is looked up in ~/.ssh/config under its address or else its name: what one would write
    after ``ssh``. What the inventory says beats what is found there.

    Raises:
        ConfigError: the user's settings for SSH cannot be used.
    """
    path = Path(settings.config).expanduser()
    try:
        text = "\n".join(_lines(path)) if path.exists() else ""
        return {
            host.name: _target(
                _Named(host.address or host.name, host.name, host.port, host.user, host.key),
                text,
                settings,
                seen=(),
            )
            for host in hosts
        }
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (paramiko.SSHException, ValueError) as error:  # ValueError: quotes, ports, not UTF-8
        raise ConfigError(f"cannot be understood: {error}", where=str(path)) from error
    except ImportError as error:
        remedy = "set [ssh] config to a file without it"
        raise ConfigError("Match exec is not supported", where=str(path), remedy=remedy) from error


def _target(host: _Named, text: str, settings: SshConfig, *, seen: tuple[str, ...]) -> Target:
    # The first value of an option counts, so what is given stands in front of all else.
    given = [f"User {host.user}"] * bool(host.user) + [f"Port {host.port}"] * bool(host.port)
    found = paramiko.SSHConfig.from_text("\n".join([*given, text])).lookup(host.alias)
    keys = [*([host.key] if host.key else []), *found.get("identityfile", [])]
    others = [file for file in found.get("userknownhostsfile", "").split() if file != "none"]
    return Target(
        name=host.name,
        address=found["hostname"],
        port=int(found.get("port", DEFAULT_PORT)),
        user=found.get("user") or getpass.getuser(),
        keys=_expanded(key for key in keys if key != "none"),
        identities_only=found.get("identitiesonly", "no").lower() == "yes",
        known_hosts=_expanded([settings.known_hosts, *others, _GLOBAL_KNOWN_HOSTS]),
        host_key_alias=found.get("hostkeyalias"),
        jump=_jump(found.get("proxyjump"), text, settings, seen=(*seen, host.alias)),
        proxy_command=found.get("proxycommand"),
    )


def _jump(
    hops: str | None, text: str, settings: SshConfig, *, seen: tuple[str, ...]
) -> Target | None:
    """Return the last of the hops; each goes through the one before it, the first as it is set."""
    jump: Target | None = None
    for hop in [] if hops is None or hops.lower() == "none" else hops.split(","):
        parts = _JUMP.match(hop.strip())
        if parts is None:
            raise ValueError(f"ProxyJump {hop!r}")
        alias = parts["host"].strip("[]")
        if alias in seen:  # as where `Host *` sends all through one host, itself included
            continue
        port = int(parts["port"]) if parts["port"] else None
        target = _target(_Named(alias, alias, port, parts["user"]), text, settings, seen=seen)
        jump = target if jump is None else msgspec.structs.replace(target, jump=jump)
    return jump


def _lines(path: Path, depth: int = 0) -> Iterator[str]:
    """Read a file with what it includes, which paramiko does not do."""
    block = "Host *"
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() in {"host", "match"}:
            block = line
        if word.lower() != "include":
            yield line
        elif depth < _DEPTH:
            for pattern in shlex.split(rest):
                # Relative to ~/.ssh, whichever file says it; Path keeps what is absolute.
                full = Path("~/.ssh").expanduser() / Path(pattern).expanduser()
                for included in sorted(Path(full.anchor).glob(str(full.relative_to(full.anchor)))):
                    yield from _lines(included, depth + 1)
            yield block


def _expanded(paths: Iterable[str]) -> tuple[str, ...]:
    """Expand ``~``; name each path once, in order."""
    return tuple(dict.fromkeys(str(Path(path).expanduser()) for path in paths))
