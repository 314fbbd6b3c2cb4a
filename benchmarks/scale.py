"""Cost of an update against the number of workers, for one, two and four shards.

Workers share this machine's cores with the parameter servers, so the curve ends where the cores
are busy. The rate at which a server with a core of its own is saturated follows from its CPU time
per update.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.engine import find_data, measures, running
from benchmarks.harness import Options, Result, column, in_turn, main

if TYPE_CHECKING:
    from benchmarks.engine import Engine
    from benchmarks.harness import Measures

NAME = "Scale"
ROUNDS = 3
WORKERS = (1, 2, 4, 6, 8, 11)
SHARDS = (1, 2, 4)
FIGURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "scale.png"
_INCHES = (9.0, 3.6)


def measure(options: Options) -> Result:
    """Run every number of workers with every number of shards; draw the curve unless quick."""
    workers = WORKERS[::3] if options.quick else WORKERS
    cells = [(count, shards) for shards in SHARDS for count in workers]
    with running(find_data(options.data_dir), quick=options.quick) as engine:
        sides = {_name(*cell): partial(_run, engine, *cell) for cell in cells}
        rounds = in_turn("scale", sides, options.rounds_or(ROUNDS))
    curve = [_point(rounds, *cell) for cell in cells]
    if not options.quick:
        draw(curve, FIGURE)
    title = "Cost of an update, medians"
    return Result(NAME, [], tables={title: curve}, rounds={"scale": rounds})


def _name(workers: int, shards: int) -> str:
    return f"{workers} workers, {shards} shards"


def _run(engine: Engine, workers: int, shards: int, number: int) -> Measures:
    outcome = engine.run(workers, parameter_servers=shards, repeat=number)
    updates = sum(record.steps for record in outcome.epochs)
    cpu_s = sum(record.cpu_s for record in outcome.epochs)
    return measures(outcome) | {
        "updates_per_s": sum(record.steps / record.duration_s for record in outcome.epochs),
        "worker_cpu_per_update_s": cpu_s / updates,
    }


def _point(rounds: list[dict[str, Measures]], workers: int, shards: int) -> dict[str, Any]:
    """Return a row of the table; an update is a push to every shard."""
    side = _name(workers, shards)
    per_s, ps_s, worker_s = (
        median(column(rounds, side, measure))
        for measure in ("updates_per_s", "ps_cpu_per_update_s", "worker_cpu_per_update_s")
    )
    return {
        "shards": shards,
        "workers": workers,
        "updates/s": per_s,
        "wall ms/update": 1e3 / per_s,
        "worker CPU ms/update": 1e3 * worker_s,
        "servers' CPU ms/update": 1e3 * ps_s,
        "a server's CPU ms/update": 1e3 * ps_s / shards,
        "cores busy": per_s * (ps_s + worker_s),
        "updates/s with a core per server": shards / ps_s,
    }


def draw(curve: list[dict[str, Any]], path: Path) -> None:
    """Draw the curve into a file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = {
        "wall ms/update": "wall time per update, all workers (ms)",
        "a server's CPU ms/update": "a server's CPU time per update (ms)",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=_INCHES, layout="constrained")
    for axis, (key, label) in zip(axes, panels.items(), strict=True):
        for shards in sorted({point["shards"] for point in curve}):
            points = [point for point in curve if point["shards"] == shards]
            name = f"{shards} shard{'s' * (shards > 1)}"
            axis.plot([p["workers"] for p in points], [p[key] for p in points], "o-", label=name)
        axis.set(xlabel="workers", ylabel=label, ylim=(0, 1.1 * max(p[key] for p in curve)))
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
