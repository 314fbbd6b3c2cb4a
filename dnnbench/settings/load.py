"""Merge the settings: default < dnnbench.toml < environment < option.

A profile sets its keys with the precedence of the place where it is given, so ``--profile paper``
overrides ``repeats`` in the file, and ``--repeats 5`` overrides the profile. Of several profiles
only the one with the highest precedence sets any key.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.checks import check_values
from dnnbench.settings.hostlists.sources import HostsChoice, find_hosts
from dnnbench.settings.schema import PROFILES, TABLES, Config, Resolved, settings
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.settings.several import Several, check_setting
from dnnbench.settings.tomlfile import TomlFile, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.trial.variation import Value

DEFAULT_PATH: Final = Path("dnnbench.toml")


class _Given(NamedTuple):
    value: Any
    origin: str


_Layer = dict[str, _Given]


def load(
    path: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, object],
    hosts: HostsChoice | None = None,
) -> Resolved:
    """Merge and check the settings.

    Args:
        path: of the file, which must exist; None for ``./dnnbench.toml`` if it exists.
        environ: ``DNNBENCH_<TABLE>_<KEY>``, lists with commas; an empty value counts as unset.
        options: ``train.batch_size`` and so on; None counts as unset.
        hosts: the options that select hosts; if none is given, the file's hosts are used.

    Raises:
        ConfigError: an unknown table or key, a wrong type or range, values that exclude each other,
            a list of hosts that cannot be used.
    """
    file = None
    if path is not None or os.path.lexists(DEFAULT_PATH):  # a dangling link is a mistake
        file = read_toml(path or DEFAULT_PATH)
    given: _Layer = {}
    layers = [_file_layer(file), _environment_layer(environ), _option_layer(options)]
    for layer in _with_profile(layers):
        given.update(layer)
    found = find_hosts(hosts or HostsChoice(), file, environ)
    config = Config(**_structs(given), hosts=found.hosts, varied=_varied(given))
    origins = {key: given[key].origin if key in given else "default" for key in settings()}
    origins["hosts"] = found.origin or "default"
    check_values(config, origins)
    return Resolved(config, origins)


def _file_layer(file: TomlFile | None) -> _Layer:
    layer: _Layer = {}
    for table, content in (file.data if file else {}).items():
        assert file is not None
        if table == "hosts":
            continue
        where = file.where(table)
        if table not in TABLES:
            owner = _owner(table)
            remedy = f"it belongs in [{owner}]" if owner else nearest(table, [*TABLES, "hosts"])
            raise ConfigError(f"[{table}] is not a known table", where=where, remedy=remedy)
        if not isinstance(content, dict):
            raise ConfigError(f"[{table}] must be a table of keys", where=where)
        for name, value in content.items():
            key = f"{table}.{name}"
            where = file.where(key)
            if key not in settings():
                raise _unknown_key(table, name, where)
            checked = check_setting(settings()[key], value, where, subject=f"[{table}] {name}")
            layer[key] = _Given(checked, where)
    return layer


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    variables = {field.variable: field for field in settings().values()}
    layer: _Layer = {}
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or not environ[name].strip():
            continue
        if name not in variables:
            remedy = nearest(name, variables, after=ENVIRONMENT_PREFIX)
            raise ConfigError(f"{name} is not known", where="environment", remedy=remedy)
        field = variables[name]
        layer[field.key] = _Given(check_setting(field, environ[name], name), name)
    return layer


def _option_layer(options: Mapping[str, object]) -> _Layer:
    layer: _Layer = {}
    for key, value in options.items():
        if value is not None:
            field = settings()[key]
            layer[key] = _Given(check_setting(field, value, field.option), field.option)
    return layer


def _with_profile(layers: list[_Layer]) -> list[_Layer]:
    """Add the keys of the last profile to its layer."""
    chosen = [number for number, layer in enumerate(layers) if "sweep.profile" in layer]
    if not chosen:
        return layers
    layer = layers[chosen[-1]]
    profile = layer["sweep.profile"]
    implied = {key: _Given(value, profile.origin) for key, value in PROFILES[profile.value].items()}
    return [*layers[: chosen[-1]], implied | layer, *layers[chosen[-1] + 1 :]]


def _structs(given: _Layer) -> dict[str, Any]:
    """Put the values, already checked, into their tables; the first one of several."""
    values: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for key, entry in given.items():
        table, _, name = key.partition(".")
        is_varied = isinstance(entry.value, Several)
        values[table][name] = entry.value[0] if is_varied else entry.value
    return {table: struct(**values[table]) for table, struct in TABLES.items()}


def _varied(given: _Layer) -> dict[str, tuple[Value, ...]]:
    """Return the settings with several values, in the order of the tables."""
    found = {key: given[key].value for key in settings() if key in given}
    return {key: tuple(value) for key, value in found.items() if isinstance(value, Several)}


def _unknown_key(table: str, name: str, where: str) -> ConfigError:
    own = nearest(name, [field.name for field in settings().values() if field.table == table])
    owner = _owner(name)
    remedy = f"it belongs in [{owner}]" if owner else own
    return ConfigError(f"[{table}] {name} is not known", where=where, remedy=remedy)


def at_origin(error: ConfigError, origins: Mapping[str, str]) -> ConfigError:
    """Return an error about ``[table] key`` with the place where it was given, if it was."""
    table, _, name = (error.where or "").partition("] ")
    origin = origins.get(f"{table[1:]}.{name}", "default")
    if origin == "default":
        return error
    return ConfigError(f"{error.where}: {error.problem}", where=origin, remedy=error.remedy)


def _owner(name: str) -> str | None:
    """Return the table that has a key of this name."""
    return next((field.table for field in settings().values() if field.name == name), None)
