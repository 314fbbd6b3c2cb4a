"""The plan of the experiment, and its run as ordinary sweeps that an interruption does not lose.

Every block (data set, node count, seed, learning rate) is a sweep of its own with one trial per
protocol; ``sequential`` has blocks of its own, with one node. Blocks with equal seeds start from
the same parameters. A block that is complete is not run again, so the same command resumes the
experiment, and a larger one adds to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from benchmarks.harness import note
from benchmarks.processes import BenchmarkError
from dnnbench.hosts.local import LocalAgents
from dnnbench.settings.checks import check_values
from dnnbench.settings.schema import (
    Config,
    Resolved,
    RunConfig,
    SweepConfig,
    TrainConfig,
    settings,
)
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.results import create
from dnnbench.sweep.runner import run_sweep
from dnnbench.sweep.store import SweepStore
from dnnbench.trial.machine import snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import DataSpec, TrialSpec

ORIGIN = "benchmarks.convergence"
SEQUENTIAL = "sequential"
PROTOCOLS = (SEQUENTIAL, "sync", "downpour", "dc-sgd-c", "dc-sgd-a", "staleness-aware")
FIRST_SEED = 2017
PATIENCE_S = 900.0
"""Seconds without progress after which a trial fails: this machine may be busy with other work."""


class Experiment(msgspec.Struct, frozen=True):
    """The settings of an experiment.

    Attributes:
        nodes: of the other protocols than ``sequential``, in the order in which they run.
        seeds: how many sweeps, each with a seed of its own, a block has.
        epochs: passes over the training examples: epochs are sharded.
    """

    datasets: tuple[str, ...] = ("mnist",)
    nodes: tuple[int, ...] = (12, 4, 8)
    rates: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.8)
    protocols: tuple[str, ...] = PROTOCOLS
    seeds: int = 5
    epochs: int = 5
    batch_size: int = 100

    def blocks(self) -> list[Block]:
        """List the blocks in the order in which they run.

        One data set and node count after the other; within them seed after seed, so that what an
        interruption leaves has every learning rate equally often.
        """
        return [
            Block(self, dataset, nodes, FIRST_SEED + number, rate)
            for dataset in self.datasets
            for nodes in self._node_counts
            for number in range(self.seeds)
            for rate in self.rates
        ]

    @property
    def _node_counts(self) -> tuple[int, ...]:
        if SEQUENTIAL not in self.protocols:
            return self.nodes
        return (1,) if self.protocols == (SEQUENTIAL,) else (1, *self.nodes)


QUICK = Experiment(
    datasets=("synthetic-mnist",),
    nodes=(3,),
    rates=(0.1, 0.8),
    seeds=2,
    epochs=1,
    batch_size=1000,
)
"""Minutes: checks that everything works; the figures mean nothing."""


class Block(NamedTuple):
    """One sweep of the experiment."""

    experiment: Experiment
    dataset: str
    nodes: int
    seed: int
    rate: float

    @property
    def name(self) -> str:
        """The name of its sweep."""
        epochs, batch = self.experiment.epochs, self.experiment.batch_size
        return f"{self.dataset}-n{self.nodes:02d}-lr{self.rate:g}-e{epochs}-b{batch}-s{self.seed}"

    def resolved(self, results_dir: Path) -> Resolved:
        """Return the settings of its sweep; those that are not named have dnnbench's defaults.

        No warm-up: its steps are applied, and 11 workers would take more of them than one does.
        """
        asked = self.experiment
        others = tuple(name for name in asked.protocols if name != SEQUENTIAL)
        config = Config(
            sweep=SweepConfig(
                nodes=(self.nodes,),
                protocols=(SEQUENTIAL,) if self.nodes == 1 else others,
                repeats=1,
                rehearsal=False,
                seed=self.seed,
                results_dir=str(results_dir),
            ),
            train=TrainConfig(
                dataset=self.dataset,
                learning_rate=self.rate,
                epoch="sharded",
                epochs=asked.epochs,
                batch_size=asked.batch_size,
                warmup_steps=0,
            ),
            run=RunConfig(ready_timeout_s=PATIENCE_S, stall_timeout_s=PATIENCE_S),
        )
        origins = dict.fromkeys([*settings(), "hosts"], ORIGIN)
        check_values(config, origins)
        return Resolved(config, origins)

    def store(self, results_dir: Path, data: DataSpec) -> SweepStore:
        """Open its sweep; create it if there is none.

        Raises:
            BenchmarkError: a sweep of this name was run with other settings.
        """
        resolved = self.resolved(results_dir)
        plan = make_plan(resolved.config, data, self.name)
        path = results_dir / self.name
        if not path.exists():
            return create(results_dir, resolved, plan, snapshot())
        store = SweepStore(path)
        if _content(store.plan) != _content(plan):
            raise BenchmarkError(f"{path} has other settings or data; give another --results-dir")
        return store


def _content(plan: Plan) -> list[TrialSpec]:
    """Return the trials of a plan, wherever their data are."""
    return [
        msgspec.structs.replace(order, data=msgspec.structs.replace(order.data, directory=None))
        for order in plan.orders
    ]


def run(experiment: Experiment, results_dir: Path, data: Mapping[str, DataSpec]) -> list[str]:
    """Run all blocks that are not complete.

    Args:
        experiment: its settings.
        results_dir: of its sweeps.
        data: data set -> the files that were found.

    Returns:
        The trials that failed, with the reason; the next run repeats them.

    Raises:
        DnnbenchError: a sweep cannot go on, as after several failures in a row.
        KeyboardInterrupt: on Ctrl-C or SIGTERM; finished trials are stored.
    """
    failed: list[str] = []
    blocks = experiment.blocks()
    for number, block in enumerate(blocks, start=1):
        store = block.store(results_dir, data[block.dataset])
        if not store.pending():
            continue
        note(f"block {number} of {len(blocks)}: {block.name}")
        outcomes = run_sweep(store, _Progress(), LocalAgents())
        failed += [
            f"{block.name}/{outcome.order.id}: {outcome.failure}"
            for outcome in outcomes
            if outcome.status not in ("ok", "diverged")
        ]
    return failed


class _Progress:
    """Prints one line per trial."""

    def sweep_started(self, plan: Plan, pending: list[TrialSpec]) -> None:
        pass

    def phase(self, text: str) -> None:
        pass

    def notice(self, text: str) -> None:
        note(text)

    def trial_started(self, order: TrialSpec) -> None:
        pass

    def event(self, order: TrialSpec, event: AnyEvent) -> None:
        pass

    def trial_ended(self, outcome: TrialOutcome) -> None:
        final = next((e.test_accuracy for e in outcome.evaluations if e.epoch is None), None)
        accuracy = "" if final is None else f", test accuracy {final:.2%}"
        note(f"  {outcome.order.id}: {outcome.status}, {outcome.duration_s:.1f} s{accuracy}")
