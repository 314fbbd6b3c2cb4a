"""Put the settings together: default < dnnbench.toml < environment < option.

A profile stands for the keys it sets at the place where it is given, so ``--profile paper`` beats
``repeats`` in the file, and ``--repeats 5`` beats the profile.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.hostlists.sources import HostsChoice, find_hosts
from dnnbench.settings.tomlfile import TomlFile, read_toml
from dnnbench.settings.values import check, check_text, field_types

if TYPE_CHECKING:
    from collections.abc import Mapping
from dnnbench.settings.checks import check_model, check_ports, check_sweep
from dnnbench.settings.schema import PROFILES, TABLES, Config, Resolved

DEFAULT_PATH: Final = Path("dnnbench.toml")
PREFIX: Final = "DNNBENCH_"


class _Given(NamedTuple):
    value: Any
    origin: str


_Layer = dict[str, _Given]
_KEYS: Final = tuple(
    f"{table}.{name}" for table, struct in TABLES.items() for name in struct.__struct_fields__
)
_VARIABLES: Final = {PREFIX + key.replace(".", "_").upper(): key for key in _KEYS}
_OPTIONS: Final = {"sweep.parameter_servers": "--ps"}
"""Options that are not spelled as their key."""


def load(
    path: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, object],
    hosts: HostsChoice | None = None,
) -> Resolved:
    """Put together the settings.

    Args:
        path: of the file, which then must exist; None for ``./dnnbench.toml`` if there is one.
        environ: ``DNNBENCH_<TABLE>_<KEY>``, lists with commas; an empty value is not given.
        options: ``train.batch_size`` and so on; None is not given.
        hosts: the options that say where hosts come from; without any, it is the file.

    Raises:
        ConfigError: an unknown table or key, a wrong type or range, values that exclude each other,
            a list of hosts that cannot be used.
    """
    file = None
    if path is not None or DEFAULT_PATH.exists():
        file = read_toml(path or DEFAULT_PATH)
    given: _Layer = {}
    for layer in (_file_layer(file), _environment_layer(environ), _option_layer(options)):
        given.update(_expand_profile(layer))
    found = find_hosts(hosts or HostsChoice(), file)
    config = Config(**_structs(given), hosts=found.hosts)
    origins = {key: given[key].origin if key in given else "default" for key in _KEYS}
    origins["hosts"] = found.origin or "default"
    check_model(config.train.model, origins["train.model"])
    check_sweep(config.sweep, origins)
    check_ports(config, origins["cluster.ports"])
    return Resolved(config, origins)


def template() -> str:
    """Return the commented file that ``dnnbench init`` writes."""
    from importlib import resources  # only `init` needs it

    return (
        resources.files("dnnbench.settings").joinpath("template.toml").read_text(encoding="utf-8")
    )


def option_name(key: str) -> str:
    """Spell a key as its option: ``train.batch_size`` is ``--batch-size``."""
    return _OPTIONS.get(key) or "--" + key.partition(".")[2].replace("_", "-")


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
            if key not in _KEYS:
                raise _unknown_key(table, name, where)
            checked = check(_type(key), value, where, subject=f"[{table}] {name}")
            layer[key] = _Given(checked, where)
    return layer


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name].strip():
            continue
        if name not in _VARIABLES:
            remedy = nearest(name, _VARIABLES)
            raise ConfigError(f"{name} is not known", where="environment", remedy=remedy)
        key = _VARIABLES[name]
        layer[key] = _Given(check_text(_type(key), environ[name], name), name)
    return layer


def _option_layer(options: Mapping[str, object]) -> _Layer:
    return {
        key: _Given(check_text(_type(key), value, option_name(key)), option_name(key))
        for key, value in options.items()
        if value is not None
    }


def _expand_profile(layer: _Layer) -> _Layer:
    if "sweep.profile" not in layer:
        return layer
    profile = layer["sweep.profile"]
    implied = {key: _Given(n, profile.origin) for key, n in PROFILES[profile.value].items()}
    return implied | layer


def _structs(given: _Layer) -> dict[str, Any]:
    """Put the values, each checked where it was given, into their tables."""
    values: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for key, entry in given.items():
        table, _, name = key.partition(".")
        values[table][name] = entry.value
    return {table: struct(**values[table]) for table, struct in TABLES.items()}


def _type(key: str) -> Any:
    table, _, name = key.partition(".")
    return field_types(TABLES[table])[name]


def _unknown_key(table: str, name: str, where: str) -> ConfigError:
    own = nearest(name, [key.partition(".")[2] for key in _KEYS if key.startswith(f"{table}.")])
    owner = _owner(name)
    remedy = f"it belongs in [{owner}]" if owner else own
    return ConfigError(f"[{table}] {name} is not known", where=where, remedy=remedy)


def _owner(name: str) -> str | None:
    """Name the table that has a key of this name."""
    return next((key.partition(".")[0] for key in _KEYS if key.endswith(f".{name}")), None)
