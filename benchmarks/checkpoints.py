"""The cost of checkpoints: epochs with many of them against epochs without any, in turn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from benchmarks.engine import find_data, measures, running
from benchmarks.harness import Options, Result, Row, column, in_turn, main, medians
from dnnbench.trial.messages import Checkpointed

if TYPE_CHECKING:
    from benchmarks.engine import Engine
    from benchmarks.harness import Measures
    from dnnbench.trial.messages import AnyEvent

NAME = "Checkpoints"
ROUNDS = 20
WORKERS = 3  # 4 nodes
EVERY_S: Final = 0.25
"""Twenty times as often as by default, so that what they cost can be seen at all."""
SIDES: Final = {"without checkpoints": 0.0, f"one every {EVERY_S:g} s": EVERY_S}
TARGET: Final = (1.01, 1.02)
"""Limits of the ratio of epoch times, and of the upper end of the ratio's interval."""


def measure(options: Options) -> Result:
    """Run one epoch per side and round, with the same seed."""
    with running(find_data(options.data_dir), quick=options.quick) as engine:
        sides = {side: partial(_run, engine, every_s) for side, every_s in SIDES.items()}
        rounds = in_turn(f"{WORKERS} workers", sides, options.rounds_or(ROUNDS))
    without, often = SIDES
    ours_s, base_s = column(rounds, often, "epoch_s"), column(rounds, without, "epoch_s")
    what = f"epoch time, {WORKERS} workers, checkpoint {often}"
    return Result(
        NAME,
        [Row(what, without, "s", ours_s, base_s, *TARGET, "interval")],
        rounds={f"{WORKERS} workers": rounds},
        tables={
            f"{WORKERS} workers, medians": medians(
                rounds, ["epoch_s", "ps_cpu_per_update_s", "checkpoints", "write_s"]
            )
        },
    )


def _run(engine: Engine, every_s: float, number: int) -> Measures:
    writes_s: list[float] = []

    def watch(event: AnyEvent) -> None:
        if isinstance(event, Checkpointed):
            writes_s.append(event.duration_s)

    outcome = engine.run(WORKERS, repeat=number, checkpoint_s=every_s, watch=watch)
    return measures(outcome) | {
        "checkpoints": float(len(writes_s)),
        "write_s": sum(writes_s) / max(len(writes_s), 1),
    }


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
