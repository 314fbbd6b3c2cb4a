"""All settings: the tables together, frozen and closed.

A setting is defined in one place: its field in `dnnbench.settings.tables` has type and bounds,
default, help, the reason for the default, and the commands that take it as an option. Options, the
file that ``dnnbench init`` writes and the tables of docs/reference.md are made from these fields.
Checks that involve two settings are in `dnnbench.settings.checks`.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec

from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.setting import Field, fields_of
from dnnbench.settings.tables.hosts import ClusterConfig, ProvisionConfig, SshConfig
from dnnbench.settings.tables.sweep import CostConfig, RunConfig, SweepConfig
from dnnbench.settings.tables.training import LAMBDA0, ProtocolConfig, TrainConfig
from dnnbench.text.safe import redacted
from dnnbench.trial.variation import Value

__all__ = [
    "BY_PROFILE",
    "LAMBDA0",
    "PROFILES",
    "TABLES",
    "ClusterConfig",
    "Config",
    "CostConfig",
    "ProtocolConfig",
    "ProvisionConfig",
    "Resolved",
    "RunConfig",
    "SshConfig",
    "SweepConfig",
    "TrainConfig",
    "settings",
    "without_secrets",
]

PROFILES: Final[dict[str, dict[str, Any]]] = {
    "quick": {
        "sweep.repeats": 3,
        "sweep.rehearsal": True,
        "train.epochs": 2,
        "train.epoch_steps": 0,
    },
    "paper": {
        "sweep.repeats": 20,
        "sweep.rehearsal": True,
        "train.epochs": 20,
        "train.epoch_steps": 0,
    },
    "delay": {
        "sweep.nodes": (12,),
        "sweep.protocols": ("sequential", "downpour", "dc-sgd-c", "dc-sgd-a"),
        "sweep.repeats": 5,
        "sweep.rehearsal": False,
        "train.learning_rate": 0.3,
        "train.epoch": "sharded",  # every protocol passes over the data as often
        "train.epochs": 5,
        "train.epoch_steps": 0,
        "train.warmup_steps": 0,  # applied, too: 11 workers would take 11 times as many
    },
    "smoke": {
        "sweep.repeats": 1,
        "sweep.rehearsal": False,
        "train.epochs": 1,
        "train.epoch_steps": 100,
    },
}
"""Profile -> the settings that it sets; ``delay`` is chosen from docs/convergence.md."""
BY_PROFILE: Final = tuple(PROFILES["quick"])
"""Settings whose default is the profile's."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, checked.

    Attributes:
        varied: ``train.learning_rate`` -> its values, of each setting that was given several; its
            table holds the first. `dnnbench.settings.grid` combines them.
    """

    sweep: SweepConfig = SweepConfig()
    train: TrainConfig = TrainConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    run: RunConfig = RunConfig()
    ssh: SshConfig = SshConfig()
    cluster: ClusterConfig = ClusterConfig()
    provision: ProvisionConfig = ProvisionConfig()
    cost: CostConfig = CostConfig()
    hosts: tuple[HostConfig, ...] = ()
    varied: dict[str, tuple[Value, ...]] = {}


class Resolved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, each with its origin.

    Attributes:
        origins: ``train.batch_size`` -> ``default``, ``dnnbench.toml:12``,
            ``DNNBENCH_TRAIN_BATCH_SIZE`` or ``--batch-size``. Hosts share one entry, ``hosts``:
            ``--hosts``, or the place of the first one in a file.
    """

    config: Config
    origins: dict[str, str]


def without_secrets(resolved: Resolved) -> Resolved:
    """Return the settings without the logins of URLs, as they may be stored and shown."""
    changed: dict[str, msgspec.Struct] = {}
    for field in settings().values():
        if field.setting.is_secret:
            table = changed.get(field.table) or getattr(resolved.config, field.table)
            value = getattr(table, field.name)
            hidden = redacted(value) if value is not None else None
            changed[field.table] = msgspec.structs.replace(table, **{field.name: hidden})
    config = msgspec.structs.replace(resolved.config, **changed)
    return msgspec.structs.replace(resolved, config=config)


TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "sweep": SweepConfig,
    "train": TrainConfig,
    "protocol": ProtocolConfig,
    "run": RunConfig,
    "ssh": SshConfig,
    "cluster": ClusterConfig,
    "provision": ProvisionConfig,
    "cost": CostConfig,
}


@functools.cache
def settings() -> dict[str, Field]:
    """Return every setting, in the order of the tables: ``train.batch_size`` -> its field."""
    return {
        key: field
        for table, struct in TABLES.items()
        for key, field in fields_of(table, struct).items()
    }
