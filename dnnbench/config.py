"""The settings of a sweep: dnnbench.toml, environment and options as frozen, closed structs.

Later beats earlier: built-in default < dnnbench.toml < environment < option. A profile stands for
the keys it sets at the place where it is given, so ``--profile paper`` beats ``repeats`` in the
file, and ``--repeats 5`` beats the profile.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from dnnbench.errors import ConfigError, nearest
from dnnbench.inventory import HostConfig
from dnnbench.inventory.sources import HostsChoice, find_hosts
from dnnbench.tomlfile import TomlFile, read_toml
from dnnbench.trial import (
    MODEL_NAMES,
    PROTOCOLS,
    Compensation,
    EpochDefinition,
    Optimizer,
    Protocol,
)
from dnnbench.values import Count, Name, Positive, check, check_text, field_types

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PATH: Final = Path("dnnbench.toml")
PREFIX: Final = "DNNBENCH_"
PROFILES: Final[dict[str, dict[str, int]]] = {
    "quick": {"sweep.repeats": 3, "train.epochs": 2},
    "paper": {"sweep.repeats": 20, "train.epochs": 20},
}
LAMBDA0: Final[dict[Compensation, float]] = {"adaptive": 2.0, "constant": 0.04}
"""The DC-ASGD paper's own choices for CIFAR-10; 0.04 is also MXNet's default."""
FIRST_PORT, LAST_PORT = 1024, 65535
"""What a user who is not root may listen on."""

NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
HostPath = Annotated[
    str, Meta(pattern=r"^~?/.", description="an absolute path, or one that begins with ~/")
]
PortRange = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,5}-[0-9]{1,5}\Z", description="two ports with a dash, as 23000-23999"),
]


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one trial trains. The reason for each default stands in the template."""

    model: Name = "mnist-dnn"
    dataset: Name = "mnist"
    data_dir: Name | None = None
    batch_size: Count = 100
    learning_rate: Positive = 0.1
    optimizer: Optimizer = "sgd"
    l2: NotNegative = 1e-4
    dropout: Fraction = 0.1
    epoch: EpochDefinition = "replicated"
    epochs: Count = 2
    warmup_steps: Annotated[int, Meta(ge=0)] = 50
    steps_per_run: Count = 25


class SweepConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which trials there are."""

    nodes: Annotated[tuple[Annotated[int, Meta(ge=2)], ...], Meta(min_length=1)] = (4, 8, 12)
    parameter_servers: Count = 1
    protocols: Annotated[tuple[Protocol, ...], Meta(min_length=1)] = PROTOCOLS
    repeats: Count = 3
    seed: Annotated[int, Meta(ge=0)] = 2017
    results_dir: Name = "results"
    profile: Literal["quick", "paper"] = "quick"


class ProtocolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Delay compensation."""

    compensation: Compensation = "adaptive"
    lambda0: NotNegative | None = None
    mean_square_decay: Fraction = 0.95
    epsilon: Positive = 1e-7

    @property
    def chosen_lambda0(self) -> float:
        """Lambda as given, else the one that goes with the kind of compensation."""
        return LAMBDA0[self.compensation] if self.lambda0 is None else self.lambda0


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a trial has failed.

    Attributes:
        ready_timeout_s: from the order until every task is ready.
        stall_timeout_s: without any event of progress.
        trial_timeout_s: for the whole trial.
    """

    ready_timeout_s: Positive = 120.0
    stall_timeout_s: Positive = 60.0
    trial_timeout_s: Positive = 3600.0


class CostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the sweep's time is priced at; ``usd_per_hour`` takes the place of the book's price."""

    price_book: Name = "gcp-2017-08"
    machine: Name = "n1-standard-4"
    usd_per_hour: Positive | None = None
    target_accuracy: Annotated[float, Meta(gt=0, le=1)] | None = None


class SshConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How hosts are reached.

    Attributes:
        connect_timeout_s: for a TCP connection.
        login_timeout_s: for the server's banner and for authentication, each.
        tries: of a connection, with growing pauses; a refused key is not tried again.
        connections: opened at once, because sshd drops some of more than 10 unauthenticated ones.
        config: the user's own settings for SSH.
        known_hosts: the keys that hosts must show.
    """

    connect_timeout_s: Positive = 10.0
    login_timeout_s: Positive = 30.0
    tries: Count = 4
    connections: Count = 8
    config: Name = "~/.ssh/config"
    known_hosts: Name = "~/.ssh/known_hosts"


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands on the hosts.

    Attributes:
        directory: on every host; all that dnnbench leaves there is in it.
        ports: first and last port that TensorFlow's servers may listen on.
        lease_s: a launched cluster ends after so long without a controller.
        share: also use hosts that somebody else's cluster has taken.
        firewall: admit only the cluster's own addresses to its ports while it stands.
    """

    directory: HostPath = "~/.dnnbench"
    ports: PortRange = "23000-23999"
    lease_s: Positive = 3600.0
    share: bool = False
    firewall: bool = False

    @property
    def port_range(self) -> tuple[int, int]:
        """First and last of ``ports``."""
        first, _, last = self.ports.partition("-")
        return int(first), int(last)


class ProvisionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How software gets onto a host.

    Attributes:
        python: interpreter there; None for the best of those it has.
        index_url: package index; None for the host's own.
        wheels: local directory with every wheel needed, pushed to hosts that have no index.
    """

    python: Name | None = None
    index_url: Name | None = None
    wheels: Name | None = None


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, checked."""

    train: TrainConfig = TrainConfig()
    sweep: SweepConfig = SweepConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    run: RunConfig = RunConfig()
    cost: CostConfig = CostConfig()
    ssh: SshConfig = SshConfig()
    cluster: ClusterConfig = ClusterConfig()
    provision: ProvisionConfig = ProvisionConfig()
    hosts: tuple[HostConfig, ...] = ()


class Resolved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, and where each came from.

    Attributes:
        origins: ``train.batch_size`` -> ``default``, ``dnnbench.toml:12``,
            ``DNNBENCH_TRAIN_BATCH_SIZE`` or ``--batch-size``. Hosts share one entry, ``hosts``:
            ``--hosts``, or where a file has the first one.
    """

    config: Config
    origins: dict[str, str]


class _Given(NamedTuple):
    value: Any
    origin: str


_Layer = dict[str, _Given]

_TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "train": TrainConfig,
    "sweep": SweepConfig,
    "protocol": ProtocolConfig,
    "run": RunConfig,
    "cost": CostConfig,
    "ssh": SshConfig,
    "cluster": ClusterConfig,
    "provision": ProvisionConfig,
}
_KEYS: Final = tuple(
    f"{table}.{name}" for table, struct in _TABLES.items() for name in struct.__struct_fields__
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
    _check_model(config.train.model, origins["train.model"])
    _check_sweep(config.sweep, origins)
    _check_ports(config, origins["cluster.ports"])
    return Resolved(config, origins)


def template() -> str:
    """Return the commented file that ``dnnbench init`` writes."""
    from importlib import resources  # only `init` needs it

    return resources.files("dnnbench").joinpath("template.toml").read_text(encoding="utf-8")


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
        if table not in _TABLES:
            owner = _owner(table)
            remedy = f"it belongs in [{owner}]" if owner else nearest(table, [*_TABLES, "hosts"])
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
    values: dict[str, dict[str, Any]] = {table: {} for table in _TABLES}
    for key, entry in given.items():
        table, _, name = key.partition(".")
        values[table][name] = entry.value
    return {table: struct(**values[table]) for table, struct in _TABLES.items()}


def _type(key: str) -> Any:
    table, _, name = key.partition(".")
    return field_types(_TABLES[table])[name]


def _check_model(name: str, where: str) -> None:
    """Refuse what no host can build; whether a host has a user's own module is for it to say."""
    module, colon, function = name.partition(":")
    parts = [*module.split("."), function]
    if name not in MODEL_NAMES and not (colon and all(part.isidentifier() for part in parts)):
        raise ConfigError(
            f"there is no model {name!r}, expected {', '.join(MODEL_NAMES)} or module:function",
            where=where,
            remedy=nearest(name, MODEL_NAMES),
        )


def _check_sweep(sweep: SweepConfig, origins: Mapping[str, str]) -> None:
    for key, values in (("nodes", sweep.nodes), ("protocols", sweep.protocols)):
        if len(set(values)) < len(values):
            where = origins[f"sweep.{key}"]
            raise ConfigError(f"[sweep] {key} names a value twice, got {list(values)}", where=where)
    if min(sweep.nodes) <= sweep.parameter_servers:
        nodes, servers = origins["sweep.nodes"], origins["sweep.parameter_servers"]
        raise ConfigError(
            f"[sweep] {min(sweep.nodes)} nodes leave no worker beside "
            f"parameter_servers = {sweep.parameter_servers}",
            where=servers if nodes == "default" else nodes,
            remedy="a trial needs at least parameter_servers + 1 nodes",
        )


def _check_ports(config: Config, where: str) -> None:
    first, last = config.cluster.port_range
    most = max(config.sweep.nodes)
    problem = None
    if not FIRST_PORT <= first <= last <= LAST_PORT:
        problem = f"the first not above the last, both from {FIRST_PORT} to {LAST_PORT}"
    elif config.hosts and last - first + 1 < most:
        # Hosts may be one machine under several names: all tasks of a trial then share the range.
        problem = f"at least {most} ports, one for each node of the largest trial"
    if problem:
        raise ConfigError(f"[cluster] ports: expected {problem}, got {first}-{last}", where=where)


def _unknown_key(table: str, name: str, where: str) -> ConfigError:
    own = nearest(name, [key.partition(".")[2] for key in _KEYS if key.startswith(f"{table}.")])
    owner = _owner(name)
    remedy = f"it belongs in [{owner}]" if owner else own
    return ConfigError(f"[{table}] {name} is not known", where=where, remedy=remedy)


def _owner(name: str) -> str | None:
    """Name the table that has a key of this name."""
    return next((key.partition(".")[0] for key in _KEYS if key.endswith(f".{name}")), None)
