"""Paced steps: the same training, later, and without using a core meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dnnbench.trial.messages import Progress
from dnnbench.trial.spec import ProtocolSpec

if TYPE_CHECKING:
    from support.real_cluster import Cluster

    from dnnbench.trial.outcome import TrialOutcome

PACE_MS = 40.0
STEPS = 20
CUT = {"epoch_steps": STEPS, "epochs": 2}


def parameters(outcome: TrialOutcome) -> list[tuple[int | None, str]]:
    return [(record.epoch, record.parameters_sha256) for record in outcome.evaluations]


def step_ms(outcome: TrialOutcome) -> list[float]:
    return [1e3 * record.duration_s / record.steps for record in outcome.epochs]


def cpu_ms(outcome: TrialOutcome) -> float:
    """Return a worker's CPU milliseconds per step."""
    records = outcome.epochs
    return 1e3 * sum(r.cpu_s for r in records) / sum(r.steps for r in records)


@pytest.mark.parametrize("name", ["downpour", "dc-sgd", "sync"])
def test_one_worker_gets_the_same_parameters_with_and_without_pace(
    cluster: Cluster, name: Any
) -> None:
    protocol = ProtocolSpec(name=name)
    plain = cluster.outcome(protocol, 2, **CUT)
    paced = cluster.outcome(protocol, 2, pace_ms=PACE_MS, **CUT)
    assert parameters(paced) == parameters(plain)
    assert [r.loss for r in paced.epochs] == [r.loss for r in plain.epochs]
    assert paced.updates_applied == plain.updates_applied


def test_a_paced_step_lasts_at_least_the_pace_and_leaves_the_core_to_others(
    cluster: Cluster,
) -> None:
    outcome = cluster.outcome(ProtocolSpec(), 3, pace_ms=PACE_MS, **CUT)
    assert all(lasted >= PACE_MS for lasted in step_ms(outcome))
    plain = cluster.outcome(ProtocolSpec(), 3, **CUT)
    # A busy wait would use all of the pace; the wait itself costs a fraction of a millisecond.
    assert cpu_ms(outcome) < cpu_ms(plain) + PACE_MS / 4


def test_one_process_without_parameter_server_is_paced_too(cluster: Cluster) -> None:
    protocol = ProtocolSpec(name="sequential")
    changes = {"parameter_servers": 0, **CUT}
    plain = cluster.outcome(protocol, 1, **changes)
    paced = cluster.outcome(protocol, 1, pace_ms=PACE_MS, **changes)
    assert parameters(paced) == parameters(plain)
    assert all(lasted >= PACE_MS for lasted in step_ms(paced))


def test_an_epoch_that_is_cut_short_has_as_many_steps(cluster: Cluster) -> None:
    outcome = cluster.outcome(ProtocolSpec(), 3, **CUT)
    assert [record.steps for record in outcome.epochs] == [STEPS] * 4
    assert [record.examples for record in outcome.epochs] == [STEPS * 1000] * 4
    assert all(e.steps_per_epoch == STEPS for e in cluster.events if isinstance(e, Progress))
    warmup = outcome.warmups[0].steps
    assert outcome.updates_applied == [2 * (2 * STEPS + warmup)]
