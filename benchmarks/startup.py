"""Start-up and memory of 12 local nodes, and the share of a sweep that is not training.

The first training step is timed from the start of ``python -m dnnbench run`` until a worker reports
the end of its warm-up, which ``--warmup-steps 1`` reduces to one ``session.run`` with all steps
unrolled into it. Memory is that of the command and of everything it started, during training.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.harness import Options, Result, Row, column, in_turn, main
from benchmarks.processes import (
    proportional_bytes,
    python,
    started,
    timed_run,
    wait_for,
)
from benchmarks.testbed.processes import descendants
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Measures

NAME = "Start-up, memory, sweep"
ROUNDS = 5
NODES = 12
TIMEOUT_S = 300.0
SWEEP_TIMEOUT_S = 3600.0
STOP_TIMEOUT_S = 30.0
IMPORT = "import tensorflow"
OURS = f"{NODES} local nodes"
TOGETHER, ALONE = f"{NODES} imports at once", "1 import alone"
_WARM, _TRAINING = "warmed_up", "progress"


def measure(options: Options) -> Result:
    """Start the nodes and the imports in turn; then time a sweep of the quick profile."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sides: dict[str, Callable[[int], Measures]] = {
            OURS: partial(_start_nodes, options, directory),
            IMPORT: partial(_import_once, directory),
            TOGETHER: partial(_import_together, NODES, directory),
            ALONE: partial(_import_together, 1, directory),
        }
        rounds = in_turn("start", sides, options.rounds_or(ROUNDS))
        sweep = _sweep(options, directory / "sweep")
    every_s, one_s = (column(rounds, OURS, key) for key in ("all_stepped_s", "first_stepped_s"))
    import_s = column(rounds, IMPORT, "duration_s")
    ours_mb, together_mb, alone_mb = (
        column(rounds, side, "memory_mb") for side in (OURS, TOGETHER, ALONE)
    )
    command = f'python -c "{IMPORT}"'
    rows = [
        Row(f"first step of the first worker of {OURS}", command, "s", one_s, import_s, 2.0),
        Row(f"first step of every worker of {OURS}", command, "s", every_s, import_s, 2.0),
        Row(f"memory of {OURS} in training", TOGETHER, "MB", ours_mb, together_mb, 0.25),
        Row(
            f"memory of {OURS} in training",
            f"{NODES} x {ALONE}",
            "MB",
            ours_mb,
            [NODES * value for value in alone_mb],
            0.25,
        ),
        Row(
            f"wall time not in training steps, {sweep['trials']:.0f} trials",
            "wall time of `dnnbench run`",
            "s",
            [sweep["wall_s"] - sweep["training_s"]],
            [sweep["wall_s"]],
            0.15,
        ),
    ]
    tables = {"Where a sweep's time goes": [sweep]}
    return Result(NAME, rows, tables=tables, rounds={"start": rounds})


def _run_command(options: Options, results: Path, *arguments: str) -> list[str]:
    data = ["--dataset", "synthetic-mnist"]
    if options.data_dir:
        data = ["--dataset", "mnist", "--data-dir", str(options.data_dir.resolve())]
    data += ["--no-rehearsal", "--results-dir", str(results)]
    return python("-m", "dnnbench", "run", *data, *arguments)


def _start_nodes(options: Options, directory: Path, number: int) -> Measures:
    """Start a trial from the command line; interrupt it once it has been measured."""
    results = directory / f"start-{number}"
    one_trial = ["--nodes", str(NODES), "--protocols", "downpour", "--repeats", "1"]
    command = _run_command(options, results, *one_trial, "--epochs", "20", "--warmup-steps", "1")
    log = directory / "run.log"
    started_at_s = time.time()
    with started(command, log, directory) as process:

        def said(kind: str) -> dict[str, float]:
            return _first_events(results, kind)

        def all_said(kind: str) -> bool:
            return len(said(kind)) == NODES - 1

        for kind, what in ((_WARM, "the first steps"), (_TRAINING, "progress of all workers")):
            wait_for(partial(all_said, kind), what, TIMEOUT_S, process, log)
        pids = [process.pid, *descendants(process.pid)]
        each_bytes = [proportional_bytes([pid]) for pid in pids]
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    warm_s = [at_s - started_at_s for at_s in said(_WARM).values()]
    return {
        "first_stepped_s": min(warm_s),
        "all_stepped_s": max(warm_s),
        "memory_mb": sum(each_bytes) / 1e6,
        "largest_process_mb": max(each_bytes) / 1e6,
        "median_process_mb": median(each_bytes) / 1e6,
        "processes": len(pids),
    }


def _first_events(results: Path, kind: str) -> dict[str, float]:
    """Return task -> time of its first event of this kind, in seconds since 1970."""
    found: dict[str, float] = {}
    for path in results.glob("*/trials/*/events.jsonl"):
        for line in path.read_bytes().splitlines()[1:]:
            with contextlib.suppress(msgspec.DecodeError):  # not yet complete
                event: dict[str, Any] = msgspec.json.decode(line)
                if event.get("event") == kind:
                    found.setdefault(event["task"], event["at_s"])
    return found


def _import_once(directory: Path, _: int) -> Measures:
    return {"duration_s": timed_run(python("-c", IMPORT), TIMEOUT_S, directory)}


def _import_together(count: int, directory: Path, _: int) -> Measures:
    """Import in the given number of processes at once, and measure their memory afterward."""
    log = directory / "imports.log"
    log.unlink(missing_ok=True)
    code = f"{IMPORT}, time; print('ready', flush=True); time.sleep({TIMEOUT_S})"
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(started(python("-c", code), log, directory)) for _ in range(count)
        ]

        def all_ready() -> bool:
            return log.read_text().count("ready") == count

        wait_for(all_ready, "the imports", TIMEOUT_S, processes[0], log)
        return {"memory_mb": proportional_bytes([p.pid for p in processes]) / 1e6}


def _sweep(options: Options, results: Path) -> dict[str, float]:
    """Run a sweep of the quick profile and break down its time."""
    arguments = ["--nodes", "4", "--repeats", "1", "--epochs", "1"] if options.quick else []
    command = _run_command(options, results, *arguments)
    wall_s = timed_run(command, SWEEP_TIMEOUT_S, results.parent)
    outcomes = open_sweep(results).outcomes()
    return {
        "wall_s": wall_s,
        "trials": float(len(outcomes)),
        "training_s": sum(outcome.training_s for outcome in outcomes),
        "trials_start_up_s": sum(outcome.start_up_s for outcome in outcomes),
        "of_that_warm_up_s": sum(
            max(record.duration_s for record in outcome.warmups) for outcome in outcomes
        ),
        "trials_end_s": sum(o.duration_s - o.start_up_s - o.training_s for o in outcomes),
        "between_trials_s": wall_s - sum(outcome.duration_s for outcome in outcomes),
    }


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
