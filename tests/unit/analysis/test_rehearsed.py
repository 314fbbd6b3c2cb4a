"""The model's growth beside that of a paced rehearsal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.factories import make_context, make_order, make_outcome

from dnnbench.analysis.analyse import analyse
from dnnbench.analysis.prediction import CPU
from dnnbench.analysis.queueing import CONSTANT, Network, Station, solve
from dnnbench.analysis.rehearsal import rehearsal_figures
from dnnbench.analysis.rehearsed import rehearsed_growth

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis

STEPS = 550
OWN_S, SERVER_S = 8e-3, 0.5e-3


def rehearsed(few: int = 4, many: int = 12, **changes: Any) -> Analysis:
    """Return the analysis of a sweep whose rehearsal behaves as the model."""
    network = Network(OWN_S, (Station(CPU, SERVER_S),))
    found = solve(network, [few - 1, many - 1], variation=CONSTANT)
    outcomes = [
        make_outcome(
            make_order(nodes, pace_ms=7.0, repeat=repeat),
            found[nodes - 1].cycle_s * STEPS,
            **changes,
        )
        for nodes in (few, many)
        for repeat in (1, 2)
    ]
    context = make_context(planned_nodes=[few, many], planned_protocols=["downpour"])
    analysis = analyse(outcomes, context)
    return msgspec.structs.replace(analysis, rehearsal=rehearsal_figures(analysis, outcomes))


def test_a_rehearsal_that_behaves_as_the_model_grows_as_predicted() -> None:
    (growth,) = rehearsed_growth(rehearsed())
    assert (growth.from_nodes, growth.to_nodes, growth.pace_ms) == (4, 12, 7.0)
    assert growth.server_s == pytest.approx(SERVER_S, rel=1e-3)
    assert growth.measured
    assert 0.5 < growth.measured.percent < 5.0
    assert growth.predicted_percent == pytest.approx(growth.measured.percent, rel=1e-2)
    assert growth.predicted_percent < growth.longest_percent
    assert growth.utilization == pytest.approx(11 * SERVER_S / (OWN_S + SERVER_S), rel=0.05)


def test_without_a_rehearsal_or_a_time_of_the_server_there_is_nothing_to_compare() -> None:
    analysis = rehearsed()
    assert rehearsed_growth(msgspec.structs.replace(analysis, rehearsal=None)) == []
    assert rehearsed_growth(rehearsed(parameter_server_cpu_s=0.0)) == []
