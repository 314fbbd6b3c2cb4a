"""The settings of a sweep: dnnbench.toml, environment and options as frozen, closed structs.

Later beats earlier: built-in default < dnnbench.toml < environment < option. A profile stands for
the keys it sets at the place where it is given, so ``--profile paper`` beats ``repeats`` in the
file, and ``--repeats 5`` beats the profile.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.values import Count, Name, Positive
from dnnbench.trial.spec import (
    Compensation,
    EpochDefinition,
    OptimizerName,
    ProtocolName,
)

PROFILES: Final[dict[str, dict[str, int]]] = {
    "quick": {"sweep.repeats": 3, "train.epochs": 2},
    "paper": {"sweep.repeats": 20, "train.epochs": 20},
}
LAMBDA0: Final[dict[Compensation, float]] = {"adaptive": 2.0, "constant": 0.04}
"""The DC-ASGD paper's own choices for CIFAR-10; 0.04 is also MXNet's default."""

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
    optimizer: OptimizerName = "sgd"
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
    protocols: Annotated[tuple[ProtocolName, ...], Meta(min_length=1)] = ("downpour", "dc-sgd")
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


TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "train": TrainConfig,
    "sweep": SweepConfig,
    "protocol": ProtocolConfig,
    "run": RunConfig,
    "cost": CostConfig,
    "ssh": SshConfig,
    "cluster": ClusterConfig,
    "provision": ProvisionConfig,
}
