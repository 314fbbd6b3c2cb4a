"""Hosts from an Ansible inventory in INI form.

Supported: hosts with ranges and ports, groups, ``:children``, ``:vars``, variables in `_FIELDS`.
Precedence is Ansible's: a host's own variables, then its deepest group's, then those of ``all``.
All other variables are neither checked nor kept; because passwords are among them, no message
repeats a line. Not supported: templates, vaults, YAML, group_vars, host_vars.
Source of the format: Ansible's guide "How to build your inventory" and its plugin ``ini``.
"""

from __future__ import annotations

import re
import shlex
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.hostlists.entries import Entry, read_value
from dnnbench.settings.hostlists.ranges import expand
from dnnbench.settings.textfile import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL, UNGROUPED = "all", "ungrouped"
OWN: Final = "dnnbench_"
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
_SECTION: Final = re.compile(r"\[(?P<group>[^:\]\s]+)(?::(?P<kind>\w+))?\]\s*(?:#.*)?")
_GROUP: Final = re.compile(r"(?P<group>[^:\]\s]+)\s*(?:#.*)?")
_PORT: Final = re.compile(r"(?P<hosts>(?:[^:\[\]]|\[[^\]]*\])+):(?P<port>\d+)")
_QUOTED: Final = re.compile(r"""(?P<sign>["'])(?P<text>.*)(?P=sign)\s*(?:#.*)?""")


class _Group:
    """A group under construction; ``hosts`` and ``children`` map names to their lines."""

    def __init__(self) -> None:
        self.hosts: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.undeclared: str | None = None
        """The line of its ``:vars``, until the group itself is declared."""


class _Inventory(NamedTuple):
    """The parsed file; ``hosts`` maps names to their own settings, ``first`` to first lines."""

    groups: dict[str, _Group]
    hosts: dict[str, dict[str, Any]]
    first: dict[str, str]

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
        path: the file.
        group: ``all`` for every host; None for the one group that contains every host.

    Raises:
        ConfigError: the file cannot be read, a line of it is invalid or not supported, the group
            does not exist, or none is named and there are several.
    """
    inventory = _parse(path)
    ranked = _by_depth(inventory.groups, path)
    members = {name: inventory.members(name) for name in inventory.groups}
    entries = []
    for host in members[_chosen(members, group, path)]:
        settings: dict[str, Any] = {}
        for name in ranked:
            if host in members[name]:
                settings |= inventory.groups[name].settings
        settings |= inventory.hosts[host]
        entries.append(Entry(inventory.first[host], settings | {"name": host}))
    return entries


def _parse(path: Path) -> _Inventory:
    text = read_text(path)
    if text.startswith("$ANSIBLE_VAULT"):
        raise ConfigError(
            "is encrypted", where=str(path), remedy="`ansible-vault view` decrypts it"
        )
    if text.startswith("---") or path.suffix in (".yml", ".yaml"):
        raise ConfigError(
            "is YAML", where=str(path), remedy="only inventories in INI form are read"
        )
    inventory = _Inventory({ALL: _Group(), UNGROUPED: _Group()}, {}, {})
    name, kind = UNGROUPED, "hosts"
    for number, line in enumerate(text.split("\n"), start=1):
        content, where = line.strip(), f"{path}:{number}"
        if not content or content[0] in "#;":
            continue
        if section := _SECTION.fullmatch(content):
            name, kind = section["group"], section["kind"] or "hosts"
            _declare(inventory.groups, name, kind, where)
        elif kind == "hosts":
            _add_hosts(inventory, name, content, where)
        elif kind == "children":
            child = _GROUP.fullmatch(content)
            if not child:
                raise ConfigError("expected the name of a group", where=where)
            inventory.groups[name].children.setdefault(child["group"], where)
        else:
            key, sign, value = content.partition("=")
            if not sign:
                raise ConfigError("expected variable=value", where=where)
            inventory.groups[name].settings |= _setting(key.strip(), _bare(value), where)
    return inventory


def _declare(groups: dict[str, _Group], name: str, kind: str, where: str) -> None:
    if kind not in ("hosts", "children", "vars"):
        problem = f"expected [{name}], [{name}:children] or [{name}:vars], got [{name}:{kind}]"
        raise ConfigError(problem, where=where)
    if kind == "vars" and name not in groups:
        groups[name] = _Group()
        groups[name].undeclared = where
    groups.setdefault(name, _Group())
    if kind != "vars":
        groups[name].undeclared = None


def _add_hosts(inventory: _Inventory, name: str, line: str, where: str) -> None:
    try:
        pattern, *words = shlex.split(line, comments=True)
    except ValueError:  # shlex: an open quote; unpacking: only a comment
        raise ConfigError("expected a host; is a quote unclosed?", where=where) from None
    if "=" in pattern:
        problem = "expected a host's name before its variables"
        raise ConfigError(problem, where=where, remedy="variables of a group go under [group:vars]")
    settings: dict[str, Any] = {}
    if match := _PORT.fullmatch(pattern):
        pattern = match["hosts"]
        settings["port"] = read_value("port", match["port"], where, "port")
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            problem = "expected variable=value after the host's name"
            raise ConfigError(problem, where=where, remedy="put a value with blanks in quotes")
        settings |= _setting(key, _bare(value), where)
    group = inventory.groups[name]
    for text in expand(pattern, where):
        host = read_value("name", text, where, "")
        if host in group.hosts:
            problem = f"{host} is in [{name}] twice, first at {group.hosts[host]}"
            raise ConfigError(problem, where=where)
        group.hosts[host] = where
        inventory.first.setdefault(host, where)
        inventory.hosts.setdefault(host, {}).update(settings)


def _setting(key: str, value: str, where: str) -> dict[str, Any]:
    """Return the field that a variable sets; empty for a variable that is only Ansible's."""
    if key in _FIELDS:
        if "{{" in value:
            raise ConfigError(f"{key} is a template, which only Ansible can fill in", where=where)
        return {_FIELDS[key]: read_value(_FIELDS[key], value, where, key)}
    if key.startswith(OWN):
        known = [name for name in _FIELDS if name.startswith(OWN)]
        raise ConfigError(f"{key} is not known", where=where, remedy=nearest(key, known))
    return {}


def _bare(value: str) -> str:
    """Return a value without its quotes and without a comment, which must follow a blank."""
    if quoted := _QUOTED.fullmatch(value.strip()):
        return quoted["text"]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()


def _by_depth(groups: dict[str, _Group], path: Path) -> list[str]:
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
    return sorted(groups, key=lambda name: (depth[name], name))


def _kinships(groups: dict[str, _Group]) -> Iterator[tuple[str, str]]:
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
