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
Status = Literal["ok", "failed", "interrupted", "not run"]

EPOCH_DEFINITIONS: dict[EpochDefinition, str] = {
    "replicated": "one pass of a worker over all training examples; every worker has all of them",
    "sharded": "one pass of a worker over its own share, 1/workers of the training examples",
}


class DataOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data set of a sweep.

    Attributes:
        name: ``mnist``, ``fashion-mnist`` or ``synthetic-mnist``.
        directory: where the host finds the four IDX files; None for a generated data set.
        digest: one SHA-256 over the content, so results of different data are told apart.
    """

    name: str
    directory: str | None
    digest: str


class ModelOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model by its name or as ``module:function``, with the options its builder takes.

    Attributes:
        digest: one SHA-256 over the sources of a user's own model; empty for dnnbench's own. Agents
            that outlive a sweep tell an edited model by it.
    """

    name: str = "mnist-dnn"
    l2: float = 0.0
    dropout: float = 0.0
    digest: str = ""


class ProtocolOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How gradients reach the parameters. The last four fields matter to ``dc-sgd`` alone."""

    name: Protocol = "downpour"
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    compensation: Compensation = "adaptive"
    lambda0: float = 2.0
    mean_square_decay: float = 0.95
    epsilon: float = 1e-7


class TrialOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
    data: DataOrder
    model: ModelOrder
    protocol: ProtocolOrder
    batch_size: int = 100
    epochs: int = 2
    epoch_definition: EpochDefinition = "replicated"
    warmup_steps: int = 50
    steps_per_run: int = 25

    @property
    def workers(self) -> int:
        """Nodes that compute gradients."""
        return self.nodes - self.parameter_servers


class Staleness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Staleness of a set of updates: updates by others between a worker's pull and its push.

    Attributes:
        counts: ``counts[s]`` updates had staleness ``s``; as long as the largest one needs.
    """

    counts: list[int]

    @property
    def updates(self) -> int:
        """How many updates were counted."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Mean staleness in updates; 0 where nothing was counted."""
        return sum(s * n for s, n in enumerate(self.counts)) / max(self.updates, 1)

    def percentile(self, percent: float) -> int:
        """Smallest staleness that at least ``percent`` of the updates do not exceed."""
        seen = 0
        for staleness, count in enumerate(self.counts):
            seen += count
            if count and seen * 100 >= percent * self.updates:
                return staleness
        return 0


class WarmupRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker's steps before the measured epochs."""

    task: str
    steps: int
    duration_s: float


class EpochRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured epoch of one worker.

    Attributes:
        task: ``worker:0`` and so on.
        epoch: 1 for the first measured one.
        duration_s: monotonic, measured in the worker.
        loss: mean of the batches' training losses, regularization included.
        cpu_s: CPU seconds of the worker's process, all threads.
        parameter_server_cpu_s: CPU seconds of all parameter servers for this worker's updates:
            their CPU seconds an update over the measured part of the trial x ``steps``.
        staleness: one entry a step and shard.
        compensation_ratio: mean of the compensation's norm / the gradient's norm over the sampled
            steps; None for a protocol that does not compensate.
    """

    task: str
    epoch: int
    steps: int
    examples: int
    duration_s: float
    loss: float
    cpu_s: float
    parameter_server_cpu_s: float
    staleness: Staleness
    compensation_ratio: float | None = None


class EvaluationRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracy (0 to 1) of the parameter servers' parameters, measured outside the timed part.

    Attributes:
        epoch: the parameters when ``worker:0`` ended this epoch; None for the final ones, after all
            workers ended.
        global_step: updates that these parameters hold (of shard 0).
        parameters_sha256: of all shards' float32 values, so that bit-identical ones are known.
    """

    epoch: int | None
    global_step: int
    validation_accuracy: float
    test_accuracy: float
    parameters_sha256: str = ""


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a trial is not ``ok``: the first failure, not what followed from it."""

    cause: str
    task: str | None = None
    host: str | None = None
    log_tail: list[str] = []

    @property
    def place(self) -> str:
        """``worker:1 on node3``, or as much of it as is known."""
        return " on ".join(part for part in (self.task, self.host) if part)

    def __str__(self) -> str:
        """One line: place and cause."""
        cause = " ".join(self.cause.split())
        return f"{self.place}: {cause}" if self.place else cause


class TrialOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of one trial; of one that was ``not run``, only why.

    Attributes:
        started_at: UTC, ISO 8601.
        start_up_s: from the order to the start of the measured epochs, warm-up included.
        training_s: from the start of the measured epochs to the end of the last worker's last one.
        duration_s: all of it, evaluation and tear-down included.
        updates_pushed: by all workers, warm-up included (a step pushes once to every shard).
        updates_applied: by shard, as the parameter servers counted them.
        parameter_server_cpu_s: of all parameter servers, over the measured part.
        placement: task -> host.
        seeds: worker -> the seed of its batches and its dropout, derived from the order's.
    """

    order: TrialOrder
    status: Status
    started_at: str
    duration_s: float
    start_up_s: float = 0.0
    training_s: float = 0.0
    parameter_server_cpu_s: float = 0.0
    updates_pushed: int = 0
    updates_applied: list[int] = []
    placement: dict[str, str] = {}
    seeds: dict[str, int] = {}
    warmups: list[WarmupRecord] = []
    epochs: list[EpochRecord] = []
    evaluations: list[EvaluationRecord] = []
    failure: Failure | None = None
