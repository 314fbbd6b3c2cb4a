"""Read an Ansible inventory in INI form.

Supported: hosts with ranges and ports, groups, ``:children``, ``:vars``. Not supported: templates,
vaults, group_vars, host_vars; `dnnbench.settings.hostlists.ansible_json` gets those from Ansible.
Source of the format: Ansible's guide "How to build your inventory" and its plugin ``ini``.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from dnnbench.errors import ConfigError
from dnnbench.settings.hostlists.entries import read_value
from dnnbench.settings.hostlists.inventory import UNGROUPED, Group, Inventory, setting
from dnnbench.settings.hostlists.ranges import expand

if TYPE_CHECKING:
    from pathlib import Path

_SECTION: Final = re.compile(r"\[(?P<group>[^:\]\s]+)(?::(?P<kind>\w+))?\]\s*(?:#.*)?")
_GROUP: Final = re.compile(r"(?P<group>[^:\]\s]+)\s*(?:#.*)?")
_PORT: Final = re.compile(r"(?P<hosts>(?:[^:\[\]]|\[[^\]]*\])+):(?P<port>\d+)")
_QUOTED: Final = re.compile(r"""(?P<sign>["'])(?P<text>.*)(?P=sign)\s*(?:#.*)?""")


def parse_ini(text: str, path: Path) -> Inventory:
    """Read an inventory.

    Raises:
        ConfigError: a line of it is invalid or not supported.
    """
    inventory = Inventory.empty()
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
            inventory.groups[name].settings |= setting(key.strip(), _bare(value), where)
    return inventory


def _declare(groups: dict[str, Group], name: str, kind: str, where: str) -> None:
    if kind not in ("hosts", "children", "vars"):
        problem = f"expected [{name}], [{name}:children] or [{name}:vars], got [{name}:{kind}]"
        raise ConfigError(problem, where=where)
    if kind == "vars" and name not in groups:
        groups[name] = Group()
        groups[name].undeclared = where
    groups.setdefault(name, Group())
    if kind != "vars":
        groups[name].undeclared = None


def _add_hosts(inventory: Inventory, name: str, line: str, where: str) -> None:
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
        settings |= setting(key, _bare(value), where)
    for text in expand(pattern, where):
        inventory.add_host(name, read_value("name", text, where, ""), settings, where)


def _bare(value: str) -> str:
    """Return a value without its quotes and without a comment, which must follow a blank."""
    if quoted := _QUOTED.fullmatch(value.strip()):
        return quoted["text"]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()
