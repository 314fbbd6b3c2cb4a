"""Read what ``ansible-inventory --list`` prints.

Ansible has then read every form of an inventory for us: YAML, dynamic ones, group_vars, host_vars.
Without ``--export`` the variables of groups are already in those of the hosts.
Source of the format: Ansible's developer guide "Developing dynamic inventory".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.errors import ConfigError
from dnnbench.settings.hostlists.entries import read_value
from dnnbench.settings.hostlists.inventory import Group, Inventory, setting

if TYPE_CHECKING:
    from pathlib import Path


class _JsonGroup(msgspec.Struct, frozen=True):
    """One group; what else is in it is not ours."""

    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    vars: dict[str, Any] = {}


class _Meta(msgspec.Struct, frozen=True):
    """The variables of every host that has any."""

    hostvars: dict[str, dict[str, Any]] = {}


def parse_json(text: str, path: Path) -> Inventory:
    """Read an inventory.

    Raises:
        ConfigError: it is not JSON, not of this form, or a value of it is invalid.
    """
    where = str(path)
    try:
        data = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        meta = msgspec.json.decode(data.pop("_meta", b"{}"), type=_Meta)
        groups = {name: msgspec.json.decode(raw, type=_JsonGroup) for name, raw in data.items()}
    except (msgspec.DecodeError, RecursionError) as error:
        problem = f"expected what `ansible-inventory --list` prints, found otherwise: {error}"
        raise ConfigError(problem, where=where) from None
    inventory = Inventory.empty()
    for name, found in groups.items():
        group = inventory.groups.setdefault(name, Group())
        group.children.update(dict.fromkeys(found.children, where))
        group.settings |= _settings(found.vars, f"{where}: {name}")
        for child in found.children:
            inventory.groups.setdefault(child, Group())  # Ansible leaves out groups without hosts
    for name, found in groups.items():
        for text_ in found.hosts:
            place = f"{where}: {name}"
            host = read_value("name", text_, place, "")
            inventory.add_host(name, host, {}, place)
    for host, values in meta.hostvars.items():
        if host in inventory.hosts:
            inventory.hosts[host] |= _settings(values, f"{where}: {host}")
    return inventory


def _settings(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the fields that variables set; a value that is no word or number is no setting."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, str | int | float):
            found |= setting(key, str(value), where)
    return found
