"""Values that ask for a trial. They cross the wire and are stored.

Closed, frozen structs: a field that the other side does not know is refused, not ignored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from dnnbench.trial.bounds import Count, LongText, PositiveCount, Quantity, Real, Share, Text
from dnnbench.trial.protocols import PROTOCOLS, find_protocol, position
from dnnbench.trial.variation import Value, Variation, in_words, kept_by, sort_key, variation_text

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_NODES: Final = 1000
"""Nodes of a trial, and its parameter servers."""
OPTIMIZERS: tuple[str, ...] = ("sgd", "adagrad")
"""Each has a class in `dnnbench.training.optimizers`."""

if TYPE_CHECKING:
    ProtocolName = str
    OptimizerName = str
else:  # checked where a value is read; mypy takes no list that is not written out
    ProtocolName = Literal[tuple(PROTOCOLS)]
    OptimizerName = Literal[OPTIMIZERS]

Nodes = Annotated[int, msgspec.Meta(ge=1, le=MOST_NODES)]
Compensation = Literal["constant", "adaptive"]
EpochDefinition = Literal["replicated", "sharded"]
Device = Literal["cpu", "gpu"]

EPOCH_DEFINITIONS: dict[EpochDefinition, str] = {
    "replicated": "one pass of a worker over all training examples; every worker has all of them",
    "sharded": "one pass of a worker over its own share, 1/workers of the training examples",
}


class DataSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data set of a sweep.

    Attributes:
        name: as in `dnnbench.data.catalog`; a user's own arrays go by ``directory:`` and the last
            part of the path.
        directory: where the host finds the files; None for a generated data set.
        digest: one SHA-256 over the content, which tells results of different data apart.
        label_noise: share of the training labels that are replaced; the digest is of the data
            without.
        train_examples: examples to train on; 0 where it was not stored.
    """

    name: Text
    directory: LongText | None
    digest: Text
    label_noise: Share = 0.0
    train_examples: Count = 0

    @property
    def title(self) -> str:
        """The data set as results name it: ``mnist, 10 % label noise``."""
        return (
            f"{self.name}, {100 * self.label_noise:g} % label noise"
            if self.label_noise
            else self.name
        )


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model by its name or as ``module:function``, with the options its builder takes.

    Attributes:
        digest: one SHA-256 over the sources of a user's own model; empty for dnnbench's own. Agents
            that outlive a sweep recognize an edited model by it.
    """

    name: Text = "mnist-dnn"
    l2: Real = 0.0
    dropout: Share = 0.0
    digest: Text = ""


class ProtocolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A protocol with its options, and the optimizer on the parameter server.

    Of the options of protocols, from ``compensation`` on, those count that
    `dnnbench.trial.protocols` lists for the protocol.

    Attributes:
        momentum: of SGD; 0 for none.
        clip_norm: Euclidean norm to which a worker shortens a longer gradient; None for any length.
        rate_warmup_epochs: epochs over which the learning rate rises, linearly.
        rate_decay_epochs: epochs, from 2, that begin with the learning rate times ``rate_decay``.
        backup_workers: workers that a step of a synchronous protocol does without.
        n_fetch, n_push: steps from one pull, or push, to the next.
        local_rate: learning rate of a worker's own parameters between two pulls; None for
            ``learning_rate``.
    """

    name: ProtocolName = "downpour"
    optimizer: OptimizerName = "sgd"
    learning_rate: Real = 0.1
    compensation: Compensation = "adaptive"
    lambda0: Real = 2.0
    mean_square_decay: Share = 0.95
    epsilon: Real = 1e-7
    momentum: Share = 0.0
    clip_norm: Real | None = None
    rate_warmup_epochs: Count = 0
    rate_decay_epochs: tuple[PositiveCount, ...] = ()
    rate_decay: Share = 0.1
    backup_workers: Count = 0
    n_fetch: PositiveCount = 1
    n_push: PositiveCount = 1
    local_rate: Real | None = None

    @property
    def has_intervals(self) -> bool:
        """Whether a worker takes steps without a pull or without a push."""
        return self.n_fetch > 1 or self.n_push > 1

    @property
    def own_rate(self) -> float:
        """The learning rate of a worker's own parameters between two pulls."""
        return self.learning_rate if self.local_rate is None else self.local_rate

    def pushes(self, steps: int) -> int:
        """Return how often a worker pushes in this many steps, its flush included."""
        is_flushed = steps > 0 and (steps - 1) % self.n_push > 0
        return -(-steps // self.n_push) + is_flushed

    @property
    def is_scheduled(self) -> bool:
        """Whether the learning rate changes during a trial."""
        return bool(self.rate_warmup_epochs or self.rate_decay_epochs)

    def rate_factor(self, epoch: int, done: float) -> float:
        """Return the factor of the learning rate when this much (0 to 1) of an epoch is done."""
        passed = sum(epoch >= first for first in self.rate_decay_epochs)
        risen = (epoch - 1 + done) / self.rate_warmup_epochs if self.rate_warmup_epochs else 1.0
        return min(risen, 1.0) * self.rate_decay**passed


class CellKey(msgspec.Struct, frozen=True):
    """A cell of a sweep: what its trials have in common and those of other cells have not.

    Cells sort by nodes, then as the table of protocols, then by variation. Only this class takes a
    key apart.

    Attributes:
        variation: the varied settings that count for the protocol; empty if the sweep varies none.
    """

    nodes: int
    protocol: ProtocolName
    variation: Variation = ()

    def __lt__(self, other: CellKey) -> bool:
        return self._order < other._order

    def __str__(self) -> str:
        text = f"{self.protocol} at {self.nodes} node{'s' * (self.nodes != 1)}"
        return f"{text}, {in_words(self.variation)}" if self.variation else text

    def trial_id(self, repeat: int) -> str:
        """Name a trial so that names sort by setting: ``n04-dc-sgd-learning_rate=0.3-r01``."""
        parts = [f"n{self.nodes:02d}", self.protocol]
        parts += [variation_text([pair]) for pair in self.variation]
        return "-".join([*parts, f"r{repeat:02d}"])

    def with_nodes(self, nodes: int) -> CellKey:
        """Return the cell of the same setting at another node count."""
        return msgspec.structs.replace(self, nodes=nodes)

    def with_protocol(self, name: ProtocolName) -> CellKey:
        """Return the cell of another protocol, with the varied settings that this one takes."""
        return CellKey(self.nodes, name, kept_by(name, self.variation))

    def baseline(self) -> CellKey | None:
        """Return the cell that this one's overhead is measured against; None if there is none."""
        name = find_protocol(self.protocol).baseline
        return None if name is None else self.with_protocol(name)

    @property
    def _order(self) -> tuple[int, int, list[tuple[str, tuple[str, float]]]]:
        variation = [(name, sort_key(value)) for name, value in self.variation]
        return self.nodes, position(self.protocol), variation


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
        warm_start_epochs: passes of ``worker:0`` alone before the others' first step; applied, not
            measured.
        steps_per_run: steps unrolled into one ``session.run``.
        device: on which a worker computes; a parameter server never needs a GPU.
        pace_ms: shortest time from a worker's pull to its push; 0 for none. A paced trial tells
            nothing of the speed of its machines.
        epoch_steps: steps of a measured epoch that is cut short; 0 for a whole pass.
    """

    sweep: Text
    data: DataSpec
    model: ModelSpec
    parameter_servers: Annotated[int, msgspec.Meta(ge=0, le=MOST_NODES)]
    batch_size: PositiveCount = 100
    epochs: PositiveCount = 2
    epoch_definition: EpochDefinition = "replicated"
    warmup_steps: Count = 50
    warm_start_epochs: Count = 0
    steps_per_run: PositiveCount = 25
    device: Device = "cpu"
    pace_ms: Quantity = 0.0
    epoch_steps: Count = 0


VARIABLE: Final[dict[str, str]] = {
    **dict.fromkeys(("batch_size", "epochs", "warmup_steps", "steps_per_run"), ""),
    **dict.fromkeys(("l2", "dropout"), "model"),
    "label_noise": "data",
    **{
        field.name: "protocol"
        for field in msgspec.structs.fields(ProtocolSpec)
        if field.name != "name" and not isinstance(field.default, tuple)
    },
}
"""Setting that a sweep may vary -> the field of `TrialSpec` that holds it, "" for the spec itself.

A sweep has one data set and one model, and one definition of an epoch: its tables name them once. A
setting that is a list itself cannot be told from a list of values.
"""


def place_of(name: str) -> str:
    """Return where a trial's spec holds a setting that may vary: ``protocol.learning_rate``."""
    return f"{VARIABLE[name]}.{name}" if VARIABLE[name] else name


if TYPE_CHECKING:
    VariedName = str
else:
    VariedName = Literal[tuple(VARIABLE)]


class TrialSpec(TrialSettings, frozen=True, kw_only=True):
    """One execution of one setting with one seed.

    Attributes:
        id: unique within the sweep, for example ``n04-dc-sgd-r01``.
        nodes: parameter servers and workers together.
        repeat: 1 for the first execution of this setting.
        seed: of this repeat; each task derives its own from it.
        varied: settings that the sweep varies and that count for this trial.
    """

    id: Text
    nodes: Nodes
    repeat: PositiveCount
    seed: int
    protocol: ProtocolSpec
    varied: tuple[VariedName, ...] = ()

    @property
    def cell(self) -> CellKey:
        """The cell that this trial is a repeat of."""
        variation = tuple((name, self.value(name)) for name in self.varied)
        return CellKey(self.nodes, self.protocol.name, variation)

    def value(self, name: VariedName) -> Value:
        """Return the value of a setting that a sweep may vary."""
        place = VARIABLE[name]
        found: Value = getattr(getattr(self, place) if place else self, name)
        return found

    @property
    def workers(self) -> int:
        """Nodes that compute gradients."""
        return self.nodes - self.parameter_servers

    @property
    def run_steps(self) -> int:
        """Steps of one ``session.run``: ``steps_per_run``, rounded up to whole intervals."""
        return whole_intervals(self.steps_per_run, self.protocol.n_fetch, self.protocol.n_push)

    @property
    def paced_run_s(self) -> float:
        """Seconds that a run lasts by its pace alone, in which a worker reports nothing."""
        return self.run_steps * self.pace_ms / 1e3

    def pass_steps(self, training_examples: int) -> int:
        """Return the steps of a worker's whole pass over the examples that it is given."""
        sharded = self.epoch_definition == "sharded"
        examples = -(-training_examples // self.workers) if sharded else training_examples
        return examples // self.batch_size

    def measured_steps(self, training_examples: int) -> int:
        """Return the steps of a measured epoch: those of a whole pass, unless it is cut short."""
        whole = self.pass_steps(training_examples)
        return min(whole, self.epoch_steps) if self.epoch_steps else whole

    @property
    def passes_per_epoch(self) -> float:
        """Whole passes in a measured epoch: 1, or less where it is cut short."""
        whole = self.pass_steps(self.data.train_examples)
        return self.measured_steps(self.data.train_examples) / whole if whole else 1.0

    def updates(self, training_examples: int) -> int:
        """Return how many updates a shard gets at most, warm-up included.

        One on a parameter server gets them of all workers; a worker's own has one per step.
        """
        warmup_runs = -(-self.warmup_steps // self.run_steps) + 1  # a shorter one, too
        pushes = self.protocol.pushes
        epoch = pushes(self.measured_steps(training_examples))
        each = self.epochs * epoch + warmup_runs * pushes(self.run_steps)
        pushers = self.workers if self.parameter_servers else 1
        return self.warm_start_epochs * epoch + pushers * each


def whole_intervals(steps: int, n_fetch: int, n_push: int) -> int:
    """Round steps up to a multiple of both intervals."""
    every = math.lcm(n_fetch, n_push)
    return -(-steps // every) * every
