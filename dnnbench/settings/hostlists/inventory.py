"""Hosts from an Ansible inventory: its groups, their hosts and variables, however it is written.

Precedence is Ansible's: a host's own variables, then its deepest group's, then those of ``all``.
Variables that are not in `_FIELDS` or `_REACHED_BY` are neither checked nor kept; because passwords
are among them, no message repeats a line.
Source: Ansible's guide "How to build your inventory".
"""

from __future__ import annotations

import shlex
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.hostlists.connect import LOCAL
from dnnbench.settings.hostlists.entries import Entry, read_value
from dnnbench.settings.textfile import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALL, UNGROUPED = "all", "ungrouped"
OWN: Final = "dnnbench_"
_CONNECTION: Final = "ansible_connection"
_FIELDS: Final = {
    "ansible_host": "address",
    "ansible_ssh_host": "address",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_ssh_private_key_file": "key",
    "ansible_private_key_file": "key",
    "dnnbench_data_address": "data_address",
    "dnnbench_slots": "slots",
    "dnnbench_usd_per_hour": "usd_per_hour",
}
"""Variables -> the fields of a host."""

_MOST_DEPTH: Final = 100
"""Of groups in groups; each has all hosts of those below it."""


class Group:
    """A group under construction; ``hosts`` and ``children`` map names to their lines."""

    def __init__(self) -> None:
        self.hosts: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.undeclared: str | None = None
        """The line of its ``:vars``, until the group itself is declared."""


class Inventory(NamedTuple):
    """The parsed file; ``hosts`` maps names to their own settings, ``first`` to first lines."""

    groups: dict[str, Group]
    hosts: dict[str, dict[str, Any]]
    first: dict[str, str]

    @classmethod
    def empty(cls) -> Inventory:
        """Return an inventory with the two groups that every one has."""
        return cls({ALL: Group(), UNGROUPED: Group()}, {}, {})

    def add_host(self, group: str, host: str, settings: dict[str, Any], where: str) -> None:
        """Put a host into a group; what was said of it before holds unless this says otherwise."""
        self.groups[group].hosts.setdefault(host, where)
        self.first.setdefault(host, where)
        self.hosts.setdefault(host, {}).update(settings)

    def members(self, name: str) -> list[str]:
        """Return a group's hosts: its own, then those of its children, in the order of the file."""
        if name == ALL:
            return list(self.hosts)
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            group = self.groups[waiting.pop()]
            found.update(dict.fromkeys(group.hosts))
            waiting += [child for child in reversed(group.children) if child not in seen]
            seen.update(group.children)
        return list(found)


def read_inventory(path: Path, group: str | None = None) -> list[Entry]:
    """Read the hosts of a group, in their order.

    Args:
        path: an inventory in INI form, or the JSON that ``ansible-inventory --list`` prints.
        group: ``all`` for every host; None for the one group that contains every host.

    Raises:
        ConfigError: the file cannot be read, a part of it is invalid or not supported, the group
            does not exist, or none is named and there are several, or a host of the group is
            neither this machine nor reached over SSH alone.
    """
    inventory = _parsed(path)
    ranked = _by_depth(inventory.groups, path)
    members = {name: inventory.members(name) for name in inventory.groups}
    entries = []
    for host in members[_chosen(members, group, path)]:
        settings: dict[str, Any] = {}
        for name in ranked:
            if host in members[name]:
                settings |= inventory.groups[name].settings
        settings |= inventory.hosts[host]
        if _plug_in(settings.get(_CONNECTION, "")) == LOCAL:
            settings["connect"] = LOCAL
        _refuse_other_routes(host, settings, inventory.first[host])
        entries.append(Entry(inventory.first[host], settings | {"name": host}))
    return entries


def _parsed(path: Path) -> Inventory:
    text = read_text(path)
    if text.startswith("$ANSIBLE_VAULT"):
        raise ConfigError(
            "is encrypted", where=str(path), remedy="`ansible-vault view` decrypts it"
        )
    if text.startswith("---") or path.suffix in (".yml", ".yaml"):
        raise ConfigError(
            "is YAML, which is not read",
            where=str(path),
            remedy=f"`ansible-inventory -i {path.name} --list > hosts.json` makes a file that is",
        )
    if text.lstrip().startswith("{"):
        from dnnbench.settings.hostlists.ansible_json import parse_json  # start-up time

        return parse_json(text, path)
    from dnnbench.settings.hostlists.ansible_ini import parse_ini  # start-up time

    return parse_ini(text, path)


def setting(key: str, value: str, where: str) -> dict[str, Any]:
    """Return the field that a variable sets; empty for a variable that is only Ansible's."""
    if key in _REACHED_BY:
        return {key: value}
    if key in _FIELDS:
        if "{{" in value:
            raise ConfigError(f"{key} is a template, which only Ansible can fill in", where=where)
        return {_FIELDS[key]: read_value(_FIELDS[key], value, where, key)}
    if key.startswith(OWN):
        known = [name for name in _FIELDS if name.startswith(OWN)]
        raise ConfigError(f"{key} is not known", where=where, remedy=nearest(key, known))
    return {}


def _refuse_other_routes(host: str, settings: dict[str, Any], where: str) -> None:
    """Take from a host's settings what only Ansible obeys; refuse it if it leads elsewhere.

    Raises:
        ConfigError: Ansible reaches the host otherwise than by the fields that are read.
    """
    for key, finds in _REACHED_BY.items():
        found = finds(settings.pop(key, ""))
        if found:
            problem = f"{host}: {key} has {found}, which dnnbench does not obey"
            remedy = "put the route to the host into ~/.ssh/config, or leave the host out"
            raise ConfigError(problem, where=where, remedy=remedy)


def _plug_in(value: str) -> str:
    """Return the name of a connection plug-in without its collection."""
    return value.rpartition(".")[2]


def _other_connection(value: str) -> str:
    """Return the name of a connection plug-in that has no counterpart here; else nothing."""
    known = ("", "smart", "ssh", "paramiko", "paramiko_ssh", LOCAL)
    return "" if _plug_in(value) in known else value


def _route_option(arguments: str) -> str:
    """Return the first option among arguments of ``ssh`` that leads to another place."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        return arguments
    for before, word in zip(["", *words], words, strict=False):
        flag, option = (before, word) if before == "-o" else (word[:2], word[2:])
        if flag in _ROUTE_FLAGS:
            return flag
        keyword = option.replace("=", " ").split(maxsplit=1)[:1] if flag == "-o" else []
        if keyword and keyword[0].lower() in _ROUTE_KEYWORDS:
            return keyword[0]
    return ""


_ROUTE_FLAGS: Final = ("-F", "-J", "-W", "-i", "-l", "-p")
_ROUTE_KEYWORDS: Final = (
    *("hostname", "hostkeyalias", "identityfile", "certificatefile", "port", "proxycommand"),
    *("proxyjump", "user"),
)
_REACHED_BY: Final[dict[str, Callable[[str], str]]] = {
    _CONNECTION: _other_connection,
    "ansible_ssh_args": _route_option,
    "ansible_ssh_common_args": _route_option,
    "ansible_ssh_extra_args": _route_option,
}
"""Variables that may lead Ansible to a host by another route -> what finds that in their value."""


def _by_depth(groups: dict[str, Group], path: Path) -> list[str]:
    """Order groups so that later ones override earlier ones: by depth, then by name."""
    for name, group in groups.items():
        if group.undeclared:
            remedy = nearest(name, set(groups) - {name})
            raise ConfigError(f"there is no group [{name}]", where=group.undeclared, remedy=remedy)
        for child, where in group.children.items():
            if child not in groups:
                remedy = nearest(child, groups)
                raise ConfigError(f"there is no group [{child}]", where=where, remedy=remedy)
    parents: dict[str, list[str]] = {name: [] for name in groups}
    for name, child in _kinships(groups):
        parents[child].append(name)
    try:
        ordered = list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        circle = " > ".join(error.args[1])
        raise ConfigError(f"groups contain each other: {circle}", where=str(path)) from None
    depth: dict[str, int] = {}
    for name in ordered:
        depth[name] = 0 if name == ALL else 1 + max((depth[p] for p in parents[name]), default=0)
    if (deepest := max(depth.values())) > _MOST_DEPTH:
        problem = f"expected groups nested at most {_MOST_DEPTH} deep, found {deepest}"
        raise ConfigError(problem, where=str(path))
    return sorted(groups, key=lambda name: (depth[name], name))


def _kinships(groups: dict[str, Group]) -> Iterator[tuple[str, str]]:
    return ((name, child) for name, group in groups.items() for child in group.children)


def _chosen(members: dict[str, list[str]], group: str | None, path: Path) -> str:
    if group is not None:
        if group not in members:
            remedy = nearest(group, members) or f"there are {', '.join(members)}"
            raise ConfigError(f"there is no group {group!r}", where=str(path), remedy=remedy)
        return group
    everyone = set(members[ALL])
    for name, hosts in members.items():
        if name != ALL and set(hosts) == everyone:
            return name
    names = [name for name in members if name not in (ALL, UNGROUPED)]
    raise ConfigError(
        f"has several groups, and none contains every host: {', '.join(names)}",
        where=str(path),
        remedy="name one with --group, or use --group all",
    )
