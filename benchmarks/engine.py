"""dnnbench's own side: trials on this machine, as a sweep runs them."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from benchmarks.processes import BenchmarkError
from dnnbench.data import catalog
from dnnbench.data.load import load
from dnnbench.data.locate import locate
from dnnbench.hosts.local import LocalAgents
from dnnbench.kernel import usable_cores
from dnnbench.settings.schema import RunConfig, TrainConfig
from dnnbench.sweep.placement import local_inventory
from dnnbench.sweep.trial_run import run_trial
from dnnbench.trial.seeds import repeat_seed
from dnnbench.trial.spec import ModelSpec, ProtocolSpec, TrialSpec
from dnnbench.trial.tasks import task_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.harness import Measures
    from dnnbench.sweep.agents import Agents
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import DataSpec

HOST = "localhost"
SEED = 2017
TRAIN = TrainConfig()
DOWNPOUR, SYNC, ALL_REDUCE, SEQUENTIAL = (
    ProtocolSpec(name, TRAIN.optimizer, TRAIN.learning_rate)
    for name in ("downpour", "sync", "all-reduce", "sequential")
)


def find_data(data_dir: Path | None) -> DataSpec:
    """Return MNIST if its directory is given, else the generated set."""
    if data_dir is None:
        return locate("synthetic-mnist").order
    return locate("mnist", data_dir, explicit=True).order


def export_data(order: DataSpec, directory: Path) -> None:
    """Write the data in the peers' formats: arrays, and records of label and pixels."""
    data = load(order)
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        np.save(directory / f"{part}_images.npy", images.astype(np.float32) / np.float32(255))
        np.save(directory / f"{part}_labels.npy", labels.astype(np.int64))
    records = np.concatenate([data.train_labels[:, None], data.train_images], axis=1)
    records.tofile(directory / "train.records")


class Engine:
    """An agent on this machine, for one trial after the other."""

    def __init__(self, agents: Agents, data: DataSpec, *, quick: bool) -> None:
        self._data = data
        self._quick = quick
        self._agents = agents
        self._limits = RunConfig(trial_timeout_s=600.0)
        agents.await_ready(self._limits.ready_timeout_s)

    def run(
        self,
        workers: int,
        protocol: ProtocolSpec = DOWNPOUR,
        *,
        parameter_servers: int = 1,
        repeat: int = 0,
        checkpoint_s: float = 0.0,
        watch: Callable[[AnyEvent], None] | None = None,
    ) -> TrialOutcome:
        """Run a trial of one epoch with the default settings.

        In an epoch every worker passes over all examples; in a quick benchmark over its share.

        Args:
            workers: in the trial.
            protocol: with optimizer and learning rate.
            parameter_servers: in the trial.
            repeat: from 0; gives the seed.
            checkpoint_s: seconds between checkpoints of a parameter server; 0 for none.
            watch: called with every event.

        Raises:
            BenchmarkError: it failed.
        """
        order = TrialSpec(
            id=f"{workers}-{protocol.name}-{repeat}",
            sweep="benchmark",
            nodes=workers + parameter_servers,
            parameter_servers=parameter_servers,
            repeat=repeat + 1,
            seed=repeat_seed(SEED, repeat),
            data=self._data,
            model=ModelSpec(TRAIN.model, l2=TRAIN.l2, dropout=TRAIN.dropout),
            protocol=protocol,
            batch_size=TRAIN.batch_size,
            epochs=1,
            epoch_definition="sharded" if self._quick else "replicated",
            warmup_steps=TRAIN.warmup_steps,
            steps_per_run=TRAIN.steps_per_run,
        )
        placement = dict.fromkeys(task_names(order.nodes, parameter_servers), HOST)
        limits = self._limits
        if checkpoint_s:
            limits = msgspec.structs.replace(limits, restart_servers=1, checkpoint_s=checkpoint_s)
        outcome = run_trial(
            order,
            placement,
            self._agents,
            cores={HOST: max(1, int(usable_cores()))},
            limits=limits,
            watch=watch or _ignore,
            phase=_ignore,
            notice=_ignore,
        )
        if outcome.status != "ok":
            raise BenchmarkError(f"trial {order.id}: {outcome.failure}")
        return outcome


@contextmanager
def running(data: DataSpec, *, quick: bool) -> Iterator[Engine]:
    """Start an engine; end it with everything that it started."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalAgents().start(local_inventory(), 1, Path(directory), _ignore) as agents,
    ):
        yield Engine(agents, data, quick=quick)


def measures(outcome: TrialOutcome) -> Measures:
    """Return the same measures as the peers: means over the workers."""
    epochs = outcome.epochs
    updates = sum(record.steps for record in epochs)
    return {
        "epoch_s": sum(record.duration_s for record in epochs) / len(epochs),
        "ps_cpu_s": outcome.parameter_server_cpu_s,
        "ps_cpu_per_update_s": outcome.parameter_server_cpu_s / updates,
        "test_accuracy": outcome.evaluations[-1].test_accuracy,
    }


def steps_of(workers: int, *, quick: bool) -> int:
    """Return the steps of a worker's epoch."""
    return (
        catalog.GENERATED[catalog.SYNTHETIC].train_count
        // (workers if quick else 1)
        // TRAIN.batch_size
    )


def _ignore(_: Any) -> None:
    pass
