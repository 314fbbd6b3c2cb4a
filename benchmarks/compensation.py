"""The cost of delay compensation: epochs under dc-sgd against epochs under downpour, in turn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from benchmarks.engine import DOWNPOUR, find_data, measures, running
from benchmarks.harness import Options, Result, Row, column, in_turn, main, medians
from dnnbench.settings.schema import LAMBDA0

if TYPE_CHECKING:
    from benchmarks.engine import Engine
    from benchmarks.harness import Measures
    from dnnbench.trial.spec import ProtocolSpec

NAME = "Delay compensation"
ROUNDS = 20
WORKERS = 3  # 4 nodes
BASE, CONSTANT, ADAPTIVE = "downpour", "dc-sgd, constant lambda", "dc-sgd, adaptive lambda"
PROTOCOLS: dict[str, ProtocolSpec] = {BASE: DOWNPOUR}
for _side, _kind, _lambda0 in (
    (CONSTANT, "constant", LAMBDA0["constant"]),
    (ADAPTIVE, "adaptive", LAMBDA0["adaptive"]),
):
    PROTOCOLS[_side] = msgspec.structs.replace(
        DOWNPOUR, name="dc-sgd", compensation=_kind, lambda0=_lambda0
    )
TARGETS: dict[str, tuple[float, float | None]] = {CONSTANT: (1.02, 1.03), ADAPTIVE: (1.04, None)}
"""Side -> limits of the ratio of its epoch time, and of the upper end of the ratio's interval."""


def measure(options: Options) -> Result:
    """Run one epoch of every protocol per round, with the same seed."""
    with running(find_data(options.data_dir), quick=options.quick) as engine:
        sides = {side: partial(_run, engine, order) for side, order in PROTOCOLS.items()}
        rounds = in_turn(f"{WORKERS} workers", sides, options.rounds_or(ROUNDS))
    base_s = column(rounds, BASE, "epoch_s")
    result = Result(NAME, [], rounds={f"{WORKERS} workers": rounds})
    for side, (target, limit) in TARGETS.items():
        epoch_s = column(rounds, side, "epoch_s")
        what = f"epoch time, {WORKERS} workers, {side}"
        result.rows.append(Row(what, BASE, "s", epoch_s, base_s, target, limit, "interval"))
    shown = ["epoch_s", "ps_cpu_per_update_s", "staleness", "test_accuracy"]
    result.tables[f"{WORKERS} workers, medians"] = medians(rounds, shown)
    return result


def _run(engine: Engine, protocol: ProtocolSpec, number: int) -> Measures:
    outcome = engine.run(WORKERS, protocol, repeat=number)
    staleness = [record.staleness.mean for record in outcome.epochs]
    return measures(outcome) | {"staleness": sum(staleness) / len(staleness)}


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
