"""What a trial is asked to do and what came of it: the values that cross the wire and are stored.

Closed, frozen structs: a field that the other side does not know is refused, not ignored.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Protocol = Literal["downpour", "dc-sgd"]
PROTOCOLS: tuple[Protocol, ...] = ("downpour", "dc-sgd")
MODEL_NAMES: tuple[str, ...] = ("mnist-dnn",)
"""Models that come with the program; a user's own is named ``module:function``."""
Optimizer = Literal["sgd", "adagrad"]
Compensation = Literal["constant", "adaptive"]
EpochDefinition = Literal["replicated", "sharded"]

EPOCH_DEFINITIONS: dict[EpochDefinition, str] = {
    "replicated": "one pass of a worker over all training examples; every worker has all of them",
    "sharded": "one pass of a worker over its own share, 1/workers of the training examples",
}


class DataSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data set of a sweep.

    Attributes:
        name: ``mnist``, ``fashion-mnist`` or ``synthetic-mnist``.
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
    """How gradients reach the parameters. The last four fields matter to ``dc-sgd`` alone."""

    name: Protocol = "downpour"
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    compensation: Compensation = "adaptive"
    lambda0: float = 2.0
    mean_square_decay: float = 0.95
    epsilon: float = 1e-7


class TrialSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One execution of one setting with one seed.

    Attributes:
        id: unique within the sweep, for example ``n04-dc-sgd-r01``.
        nodes: parameter servers and workers together.
        repeat: 1 for the first execution of this setting.
        seed: of this repeat; each task derives its own from it.
        epochs: measured epochs; warm-up comes on top.
        warmup_steps: steps of every worker before the measured epochs; applied, not measured.
        steps_per_run: steps unrolled into one ``session.run``.
    """

    id: str
    sweep: str
    nodes: int
    parameter_servers: int
    repeat: int
    seed: int
    data: DataSpec
    model: ModelSpec
    protocol: ProtocolSpec
    batch_size: int = 100
    epochs: int = 2
    epoch_definition: EpochDefinition = "replicated"
    warmup_steps: int = 50
    steps_per_run: int = 25

    @property
    def workers(self) -> int:
        """Nodes that compute gradients."""
        return self.nodes - self.parameter_servers
