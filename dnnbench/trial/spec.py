"""Values that ask for a trial. They cross the wire and are stored.

Closed, frozen structs: a field that the other side does not know is refused, not ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from dnnbench.trial.protocols import PROTOCOLS, find_protocol, position

if TYPE_CHECKING:
    from collections.abc import Iterable

OPTIMIZERS: tuple[str, ...] = ("sgd", "adagrad")
"""Each has a class in `dnnbench.training.optimizers`."""

if TYPE_CHECKING:
    ProtocolName = str
    OptimizerName = str
else:  # checked where a value is read; mypy takes no list that is not written out
    ProtocolName = Literal[tuple(PROTOCOLS)]
    OptimizerName = Literal[OPTIMIZERS]

Compensation = Literal["constant", "adaptive"]
EpochDefinition = Literal["replicated", "sharded"]

EPOCH_DEFINITIONS: dict[EpochDefinition, str] = {
    "replicated": "one pass of a worker over all training examples; every worker has all of them",
    "sharded": "one pass of a worker over its own share, 1/workers of the training examples",
}


class DataSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data set of a sweep.

    Attributes:
        name: as in `dnnbench.data.catalogue`.
        directory: where the host finds the four IDX files; None for a generated data set.
        digest: one SHA-256 over the content, so results of different data are told apart.
    """

    name: str
    directory: str | None
    digest: str


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model by its name or as ``module:function``, with the options its builder takes.

    Attributes:
        digest: one SHA-256 over the sources of a user's own model; empty for dnnbench's own. Agents
            that outlive a sweep tell an edited model by it.
    """

    name: str = "mnist-dnn"
    l2: float = 0.0
    dropout: float = 0.0
    digest: str = ""


class ProtocolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A protocol with its options, and the optimizer on the parameter server.

    Of the last five fields, those count that `dnnbench.trial.protocols` lists for the protocol.
    """

    name: ProtocolName = "downpour"
    optimizer: OptimizerName = "sgd"
    learning_rate: float = 0.1
    compensation: Compensation = "adaptive"
    lambda0: float = 2.0
    mean_square_decay: float = 0.95
    epsilon: float = 1e-7
    backup_workers: int = 0


class CellKey(msgspec.Struct, frozen=True):
    """A cell of a sweep: what its trials have in common and those of other cells have not.

    Cells sort by nodes, then as the table of protocols. Only this class takes a key apart.
    """

    nodes: int
    protocol: ProtocolName

    def __lt__(self, other: CellKey) -> bool:
        return (self.nodes, position(self.protocol)) < (other.nodes, position(other.protocol))

    def __str__(self) -> str:
        return f"{self.protocol} at {self.nodes} nodes"

    def trial_id(self, repeat: int) -> str:
        """Name a trial so that names sort by setting: ``n04-dc-sgd-r01``."""
        return f"n{self.nodes:02d}-{self.protocol}-r{repeat:02d}"

    def with_nodes(self, nodes: int) -> CellKey:
        """Return the cell of the same setting at another node count."""
        return msgspec.structs.replace(self, nodes=nodes)

    def baseline(self) -> CellKey | None:
        """Return the cell that this one's overhead is measured against; None if there is none."""
        name = find_protocol(self.protocol).baseline
        return None if name is None else msgspec.structs.replace(self, protocol=name)


def grid(nodes: Iterable[int], protocols: Iterable[ProtocolName]) -> list[CellKey]:
    """List every combination, in the order given; the last one varies fastest.

    A protocol with a fixed node count has one cell, where it first comes.
    """
    protocols = list(protocols)
    cells = [
        CellKey(nodes=find_protocol(name).fixed_nodes or count, protocol=name)
        for count in nodes
        for name in protocols
    ]
    return list(dict.fromkeys(cells))


class TrialSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all trials of a sweep have in common, whatever their cell and repeat.

    Attributes:
        sweep: name of the sweep.
        parameter_servers: of a trial whose protocol needs any; 0 for the others.
        epochs: measured epochs; warm-up comes on top.
        warmup_steps: steps of every worker before the measured epochs; applied, not measured.
        steps_per_run: steps unrolled into one ``session.run``.
    """

    sweep: str
    data: DataSpec
    model: ModelSpec
    parameter_servers: int
    batch_size: int = 100
    epochs: int = 2
    epoch_definition: EpochDefinition = "replicated"
    warmup_steps: int = 50
    steps_per_run: int = 25


class TrialSpec(TrialSettings, frozen=True, kw_only=True):
    """One execution of one setting with one seed.

    Attributes:
        id: unique within the sweep, for example ``n04-dc-sgd-r01``.
        nodes: parameter servers and workers together.
        repeat: 1 for the first execution of this setting.
        seed: of this repeat; each task derives its own from it.
    """

    id: str
    nodes: int
    repeat: int
    seed: int
    protocol: ProtocolSpec

    @property
    def cell(self) -> CellKey:
        """The cell that this trial is a repeat of."""
        return CellKey(nodes=self.nodes, protocol=self.protocol.name)

    @property
    def workers(self) -> int:
        """Nodes that compute gradients."""
        return self.nodes - self.parameter_servers
