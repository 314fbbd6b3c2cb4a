"""Hosts from ``[[hosts]]`` in dnnbench.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.hostlists.connect import check_connect
from dnnbench.settings.hostlists.entries import Entry
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.values import check, field_types

if TYPE_CHECKING:
    from dnnbench.settings.tomlfile import TomlFile


def read_tables(file: TomlFile) -> list[Entry]:
    """Read the ``[[hosts]]`` tables, in their order.

    Raises:
        ConfigError: an unknown key, an invalid value, or a missing name (with the line).
    """
    tables = file.data.get("hosts", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError("expected hosts as [[hosts]] tables", where=file.where("hosts"))
    kinds = field_types(HostConfig)
    entries = []
    for index, table in enumerate(tables):
        for name, value in table.items():
            where = file.where(f"hosts.{index}.{name}")
            if name not in kinds:
                problem = f"[[hosts]] {name} is not known"
                raise ConfigError(problem, where=where, remedy=nearest(name, kinds))
            check(kinds[name], value, where, subject=f"[[hosts]] {name}")
            if name == "connect":
                check_connect(value, where, "[[hosts]] connect: ")
        where = file.where(f"hosts.{index}")
        if "name" not in table:
            raise ConfigError("[[hosts]] has no name", where=where)
        entries.append(Entry(where, table))
    return entries
