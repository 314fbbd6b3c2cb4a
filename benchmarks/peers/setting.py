"""The command line and the answer of every peer.

Only NumPy and the standard library, because the peers run in other environments than dnnbench.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Barrier

LAYERS = (784, 64, 64, 10)
PHASE_TIMEOUT_S = 300.0
_CPUCLOCK_SCHED = 2


class Setting(NamedTuple):
    """The task, the same on all sides; ``steps`` are those of each worker in the timed part."""

    data: Path
    workers: int
    steps: int
    warmup_steps: int
    batch_size: int
    learning_rate: float
    l2: float
    dropout: float
    seed: int

    @classmethod
    def from_command_line(cls) -> Setting:
        """Parse ``--data DIR --workers 3`` and so on; nothing has a default."""
        parser = argparse.ArgumentParser()
        kinds: dict[str, Any] = {"data": Path, "learning_rate": float, "l2": float}
        kinds["dropout"] = float
        for field in cls._fields:
            option = f"--{field.replace('_', '-')}"
            parser.add_argument(option, type=kinds.get(field, int), required=True)
        return cls(**vars(parser.parse_args()))


class Arrays(NamedTuple):
    """Images float32 [n, 784] in 0 to 1, labels int64 [n]; mapped, so processes share them."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(directory: Path) -> Arrays:
    """Open the arrays that :func:`benchmarks.engine.export_data` wrote."""
    return Arrays(*(np.load(directory / f"{name}.npy", mmap_mode="r") for name in Arrays._fields))


def batches(setting: Setting, examples: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the example indices of ``steps`` batches, in a new random order per pass."""
    rng = np.random.default_rng([setting.seed, seed])
    size = setting.batch_size
    a_pass = examples // size
    for step in range(steps):
        if step % a_pass == 0:
            order = rng.permutation(examples)
        first = step % a_pass * size
        yield order[first : first + size]


def free_addresses(count: int) -> list[str]:
    """Return addresses on this machine whose ports were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def process_cpu_s(pid: int) -> float:
    """Return the CPU seconds of another process, all threads, to the nanosecond (Linux)."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


class Timed(NamedTuple):
    """The measurement of one worker; their mean is the epoch time of a trial."""

    epoch_s: float
    accuracy: float | None = None


def meet(barrier: Barrier) -> None:
    """Wait for all others, with a deadline."""
    barrier.wait(PHASE_TIMEOUT_S)


def context(library: str) -> Any:
    """Return a context that forks processes from one that has only imported the library.

    It shortens the start, which is not timed; nothing of the library runs before the fork.
    """
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([library])
    return found


def answer(timed: list[Timed], updates: int, **measures: float) -> None:
    """Print the result, the last line of the output."""
    accuracies = [each.accuracy for each in timed if each.accuracy is not None]
    measures["epoch_s"] = sum(each.epoch_s for each in timed) / len(timed)
    if accuracies:
        measures["test_accuracy"] = accuracies[0]
    if "ps_cpu_s" in measures:
        measures["ps_cpu_per_update_s"] = measures["ps_cpu_s"] / updates
    print(json.dumps(measures), flush=True)
