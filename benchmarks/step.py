"""Time of an epoch and CPU of the parameter server, against what a user would otherwise choose."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.engine import (
    ALL_REDUCE,
    DOWNPOUR,
    SEED,
    SEQUENTIAL,
    SYNC,
    TRAIN,
    export_data,
    find_data,
    measures,
    running,
    steps_of,
)
from benchmarks.harness import Options, Result, Row, column, in_turn, main, medians
from benchmarks.processes import PEERS, has_torch, python, run_peer
from dnnbench.trial.protocols import parameter_servers_of

if TYPE_CHECKING:
    from benchmarks.engine import Engine
    from benchmarks.harness import Measures
    from dnnbench.trial.spec import ProtocolSpec

NAME = "Epoch time"
ROUNDS = 5
PEER_TIMEOUT_S = 600.0
OURS = "dnnbench"
TUTORIAL, COORDINATOR = "tutorial style", "ClusterCoordinator"
DDP, ARITHMETIC = "PyTorch DDP, gloo", "arithmetic alone"
SCRIPTS = {
    TUTORIAL: "tutorial.py",
    COORDINATOR: "coordinator.py",
    DDP: "ddp.py",
    ARITHMETIC: "arithmetic.py",
}
TARGETS = {
    1: {TUTORIAL: 0.25, ARITHMETIC: 3.0},
    3: {COORDINATOR: 0.4, DDP: 0.6},
    11: {TUTORIAL: 0.33, COORDINATOR: 0.4, DDP: 0.3},
}
"""Workers -> side to compare with -> limit of the ratio of dnnbench's epoch time to its."""
OTHERS = {
    1: [(SEQUENTIAL, ARITHMETIC, 1.15)],
    3: [(SYNC, DDP, 1.0), (ALL_REDUCE, DDP, 1.0)],
    11: [(SYNC, DDP, 1.0), (ALL_REDUCE, DDP, 1.0)],
}
"""Workers -> other protocols, each with the side to compare it with and the limit of the ratio."""
PS_CPU_TARGET = 0.2


def measure(options: Options) -> Result:
    """Run every side at 1, 3 and 11 workers."""
    result = Result(NAME, [])
    rounds = options.rounds_or(ROUNDS)
    with_torch = has_torch(options.torch_python)
    if not with_torch:
        result.skipped.append(
            f"{DDP}: {options.torch_python} has no torch; install the extra `benchmark`, or name "
            "another interpreter with --torch-python"
        )
    data = find_data(options.data_dir)
    with tempfile.TemporaryDirectory() as directory:
        export_data(data, Path(directory))
        with running(data, quick=options.quick) as engine:
            for workers, targets in TARGETS.items():
                peers = [peer for peer in targets if with_torch or peer != DDP]
                sides = {OURS: partial(_ours, engine, workers, DOWNPOUR)}
                for protocol, _, _ in OTHERS[workers]:
                    sides[protocol.name] = partial(_ours, engine, workers, protocol)
                for peer in peers:
                    sides[peer] = partial(_peer, peer, workers, options, Path(directory))
                group = f"{workers} workers" if workers > 1 else "1 worker"
                measured = in_turn(group, sides, rounds)
                result.rounds[group] = measured
                for peer in peers:
                    ours_s, peers_s = (column(measured, side, "epoch_s") for side in (OURS, peer))
                    what = f"epoch time, {group}"
                    result.rows.append(Row(what, peer, "s", ours_s, peers_s, targets[peer]))
                for protocol, like, target in OTHERS[workers]:
                    if like in peers:
                        ours_s, peers_s = (
                            column(measured, s, "epoch_s") for s in (protocol.name, like)
                        )
                        what = f"epoch time of {protocol.name}, {group}"
                        result.rows.append(Row(what, like, "s", ours_s, peers_s, target))
                if TUTORIAL in peers:
                    ours_ms, peers_ms = (_update_ms(measured, s) for s in (OURS, TUTORIAL))
                    what = f"parameter server's CPU per update, {group}"
                    result.rows.append(Row(what, TUTORIAL, "ms", ours_ms, peers_ms, PS_CPU_TARGET))
                shown = ["epoch_s", "ps_cpu_per_update_s", "test_accuracy"]
                title = f"{group}, {steps_of(workers, quick=options.quick)} steps each, medians"
                result.tables[title] = medians(measured, shown)
    return result


def _update_ms(rounds: list[dict[str, Measures]], side: str) -> list[float]:
    return [1e3 * value for value in column(rounds, side, "ps_cpu_per_update_s")]


def _ours(engine: Engine, workers: int, protocol: ProtocolSpec, number: int) -> Measures:
    servers = parameter_servers_of(protocol.name, 1)
    outcome = engine.run(workers, protocol, parameter_servers=servers, repeat=number)
    return measures(outcome)


def _peer(peer: str, workers: int, options: Options, directory: Path, number: int) -> Measures:
    """Run a peer on the same task."""
    given = {
        "data": directory,
        "workers": workers,
        "steps": steps_of(workers, quick=options.quick),
        "warmup-steps": TRAIN.warmup_steps,
        "batch-size": TRAIN.batch_size,
        "learning-rate": TRAIN.learning_rate,
        "l2": TRAIN.l2,
        "dropout": TRAIN.dropout,
        "seed": SEED + number,
    }
    arguments = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    command = python(str(PEERS / SCRIPTS[peer]), *arguments)
    if peer == DDP:
        command[0] = options.torch_python
    return run_peer(command, directory / "peer.log", PEER_TIMEOUT_S)


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
