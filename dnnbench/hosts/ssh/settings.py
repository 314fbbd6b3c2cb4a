"""Settings of the connection to a host, from the host list and the SSH configuration."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.hosts.ssh.algorithms import Algorithms
from dnnbench.hosts.ssh.config import tokens
from dnnbench.hosts.ssh.config.lookup import Files, Found, Source
from dnnbench.settings.schema import SshConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.hosts.ssh.config.lines import Line
    from dnnbench.settings.hostlists.host import HostConfig

DEFAULT_PORT: Final = 22
SYSTEM_CONFIG: Final = Path("/etc/ssh/ssh_config")
_USER_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_GLOBAL_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_AGENT_VARIABLE: Final = "SSH_AUTH_SOCK"
_JUMP: Final = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?P<host>\[[^]]+\]|[^:@]+)(?::(?P<port>\d+))?/?$"
)

FAMILIES: Final = {
    "any": socket.AF_UNSPEC,
    "inet": socket.AF_INET,
    "inet6": socket.AF_INET6,
}
"""Values of AddressFamily."""


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a connection to a host.

    Attributes:
        name: the host's name in the inventory; a jump host's name in ~/.ssh/config.
        address: host name or IP address, as seen from `jump` or else from this machine.
        keys: paths of private keys, in the order in which they are tried; None for the default
            ones.
        identities_only: offer no other key of the SSH agent than these.
        known_hosts: files with host keys; a missing file counts as empty.
        host_key_alias: name under which the host's key is known, if not its address.
        jump: the host to go through.
        proxy_command: a command whose standard input and output lead to the host.
        trust_file: the file for keys that the user trusts.
        certificates: paths of certificates for the keys.
        agent: path of the SSH agent's socket; None for no agent.
        algorithms: restrictions on the algorithms.
        family: the family of the host's addresses, one of `FAMILIES`.
        bind_address: this machine's address from which to connect.
    """

    name: str
    address: str
    port: int
    user: str
    keys: tuple[str, ...] | None
    identities_only: bool
    known_hosts: tuple[str, ...]
    host_key_alias: str | None = None
    jump: Target | None = None
    proxy_command: str | None = None
    trust_file: str = _USER_KNOWN_HOSTS[0]
    certificates: tuple[str, ...] = ()
    agent: str | None = None
    algorithms: Algorithms = Algorithms()
    family: str = "any"
    bind_address: str | None = None

    @property
    def known_as(self) -> str:
        """The host's name in known_hosts."""
        if self.host_key_alias:
            return self.host_key_alias
        return self.address if self.port == DEFAULT_PORT else f"[{self.address}]:{self.port}"


class _Named(NamedTuple):
    """A host as the inventory or a ProxyJump names it; fields that are None are looked up."""

    alias: str
    name: str
    port: int | None = None
    user: str | None = None
    key: str | None = None


def resolve(hosts: Iterable[HostConfig], settings: SshConfig) -> dict[str, Target]:
    """Return how to reach hosts: name -> target.

    A host is looked up in the SSH configuration under its address or else its name, which is what
    the user would write after ``ssh``. The host list overrides what is found there. As with ssh,
    the system-wide configuration counts unless another file is named.

    Raises:
        ConfigError: the configuration is invalid, or requires what is not supported.
    """
    path = Path(settings.config).expanduser()
    sources = [Source(path)]
    if settings.config == SshConfig().config:
        sources = [Source(path, must_be_private=True), Source(SYSTEM_CONFIG, is_system=True)]
    files = Files(sources)
    return {
        host.name: _target(
            _Named(host.address or host.name, host.name, host.port, host.user, host.key),
            files,
            settings,
            seen=(),
        )
        for host in hosts
    }


def _target(host: _Named, files: Files, settings: SshConfig, *, seen: tuple[str, ...]) -> Target:
    found = files.lookup(host.alias, host.user, host.port)
    users = _users_known_hosts(found, settings)
    return Target(
        name=host.name,
        address=found.host,
        port=found.port,
        user=found.user,
        keys=_keys(host, found),
        identities_only=found.is_set("identitiesonly"),
        known_hosts=_once([*users, *_global_known_hosts(found)]),
        host_key_alias=found.value("hostkeyalias"),
        jump=_jump(found, files, settings, seen=(*seen, host.alias)),
        proxy_command=_command(found),
        trust_file=users[0],
        certificates=_paths(found, "certificatefile"),
        agent=_agent(found),
        algorithms=Algorithms.of(found),
        family=_family(found.line("addressfamily")),
        bind_address=found.value("bindaddress"),
    )


def _keys(host: _Named, found: Found) -> tuple[str, ...] | None:
    given = [str(Path(host.key).expanduser())] if host.key else []
    if not given and not found.line("identityfile"):
        return None
    return _once([*given, *_paths(found, "identityfile")])


def _users_known_hosts(found: Found, settings: SshConfig) -> list[str]:
    """Return the user's own files: from [ssh] known_hosts, or else from UserKnownHostsFile.

    A file that keeps nothing, such as /dev/null, is a way to stop ssh from asking questions. As
    dnnbench never trusts a key without being told to, it uses the default files instead.
    """
    if settings.known_hosts != SshConfig().known_hosts:
        return [str(Path(settings.known_hosts).expanduser())]
    line = found.line("userknownhostsfile")
    files = [
        tokens.as_path(text, found.names, line)
        for text in (line.arguments if line else ())
        if line and text.lower() not in ("none", os.devnull)
    ]
    return files or [str(Path(path).expanduser()) for path in _USER_KNOWN_HOSTS]


def _global_known_hosts(found: Found) -> Iterable[str]:
    line = found.line("globalknownhostsfile")
    if line is None:
        return _GLOBAL_KNOWN_HOSTS
    texts = (text for text in line.arguments if text.lower() != "none")
    return [tokens.expanded_home(text, line) for text in texts]


def _paths(found: Found, keyword: str) -> tuple[str, ...]:
    return _once(
        tokens.as_path(line.argument, found.names, line)
        for line in found.lines.get(keyword, [])
        if line.argument.lower() != "none"
    )


def _agent(found: Found) -> str | None:
    """Return the path of the SSH agent's socket."""
    line = found.line("identityagent")
    if line is None or line.argument == _AGENT_VARIABLE:
        return os.environ.get(_AGENT_VARIABLE) or None
    text = line.argument
    if text.lower() == "none":
        return None
    if text.startswith("$") and not text.startswith("${"):
        return os.environ.get(text[1:]) or None
    return tokens.as_path(text, found.names, line)


def _command(found: Found) -> str | None:
    line, text = found.line("proxycommand"), found.value("proxycommand")
    return tokens.with_tokens(text, found.names, tokens.PROXY, line) if line and text else None


def _family(line: Line | None) -> str:
    if line is None:
        return "any"
    family = line.argument.lower()
    if family not in FAMILIES:
        raise line.bad(f"expected {', '.join(FAMILIES)}")
    return family


def _jump(
    found: Found, files: Files, settings: SshConfig, *, seen: tuple[str, ...]
) -> Target | None:
    """Return the last hop; each hop goes through the one before, the first as configured for it."""
    line, hops = found.line("proxyjump"), found.value("proxyjump")
    if line is None or hops is None:
        return None
    jump: Target | None = None
    for hop in tokens.with_tokens(hops, found.names, tokens.PROXY, line).split(","):
        parts = _JUMP.match(hop.strip())
        if parts is None:
            raise line.bad("expected [user@]host[:port]")
        alias = parts["host"].strip("[]")
        if alias in seen:  # `Host *` may send all hosts through one, itself included
            continue
        port = int(parts["port"]) if parts["port"] else None
        target = _target(_Named(alias, alias, port, parts["user"]), files, settings, seen=seen)
        jump = target if jump is None else msgspec.structs.replace(target, jump=jump)
    return jump


def _once(paths: Iterable[str]) -> tuple[str, ...]:
    """Return each path once, in order."""
    return tuple(dict.fromkeys(paths))
