"""Entries of a host list, each with the place where it is written, and the hosts made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from dnnbench.errors import ConfigError
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.textfile import local_path
from dnnbench.settings.values import check, field_types, is_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LEAST_PORT: Final = 22
"""Least port after a colon, where MPICH and Horovod write slots. ``port`` in [[hosts]] is free."""


class Entry(NamedTuple):
    """One host as a list has it.

    Attributes:
        where: its line, ``hosts.txt:3``.
        settings: fields of `HostConfig`, checked; only those that the list gives, always ``name``.
    """

    where: str
    settings: dict[str, Any]


def read_value(field: str, value: str, where: str, subject: str) -> Any:
    """Return a host's field from its text; ``subject`` is the field's name in this kind of list."""
    return check(field_types(HostConfig)[field], value, where, subject=subject, typed=value)


def read_address(text: str, where: str) -> dict[str, Any]:
    """Split ``[user@]host[:port]`` into fields; an IPv6 address with a port needs brackets."""
    user, at, rest = text.rpartition("@")
    if rest.startswith("["):
        name, _, port = rest[1:].partition("]")
        has_port, port = port.startswith(":"), port.removeprefix(":")
    elif rest.count(":") > 1:
        name, has_port, port = rest, False, ""
    else:
        name, colon, port = rest.partition(":")
        has_port = bool(colon)
    if ":" in user:
        remedy = "use an SSH key instead"
        raise ConfigError("expected user@host, got a password, too", where=where, remedy=remedy)
    settings = {"name": read_value("name", name, where, "")}
    if at:
        settings["user"] = read_value("user", user, where, "user")
    if has_port:
        settings["port"] = read_value("port", port, where, "port")
        if settings["port"] < _LEAST_PORT:
            raise ConfigError(
                f"{name}:{port} means port {port}, where no SSH server listens",
                where=where,
                remedy=f"for {port} slots, write `{name} slots={port}` in a host file",
            )
    return settings


def make_hosts(
    entries: Iterable[Entry], known: Mapping[str, HostConfig] | None = None
) -> tuple[HostConfig, ...]:
    """Make one host per entry, in their order.

    Args:
        entries: those of one list.
        known: name -> a host from another list, for the fields that its entry does not give.

    Raises:
        ConfigError: a host is listed twice, or the path of a key cannot be one.
    """
    hosts: dict[str, HostConfig] = {}
    first: dict[str, str] = {}
    paths = [name for name, kind in field_types(HostConfig).items() if is_path(kind)]
    for where, settings in entries:
        for field in paths:
            if field in settings:
                local_path(settings[field], where)
        name = settings["name"]
        if name in hosts:
            problem = f"{name} is listed twice"
            if first[name] != where:
                problem += f", first at {first[name]}"
            raise ConfigError(problem, where=where)
        first[name] = where
        host = (known or {}).get(name) or HostConfig(name)
        hosts[name] = msgspec.structs.replace(host, **settings)
    return tuple(hosts.values())
