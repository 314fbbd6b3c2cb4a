"""Warm starts of real trials: worker:0 trains alone before any other worker's first step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.real_cluster import small_order

from dnnbench.analysis.trial_figures import measure
from dnnbench.trial.messages import EpochEnd, Progress, WarmedUp, WarmStarted
from dnnbench.trial.spec import ProtocolSpec

if TYPE_CHECKING:
    from support.real_cluster import Cluster

STEPS = 55
DOWNPOUR = ProtocolSpec("downpour", learning_rate=0.1)
ADAGRAD = ProtocolSpec("downpour", "adagrad", learning_rate=0.02, n_fetch=2, n_push=2)


def test_the_others_begin_after_the_warm_start_and_nothing_of_it_is_lost_or_measured(
    cluster: Cluster,
) -> None:
    outcome = cluster.run(small_order(ADAGRAD, 3, warm_start_epochs=2))
    assert outcome.status == "ok", outcome.failure
    kinds = [type(event) for event in cluster.events]
    started = kinds.index(WarmStarted)
    assert {e.task for e in cluster.events[:started] if isinstance(e, Progress)} <= {"worker:0"}
    assert {e.epoch for e in cluster.events[:started] if isinstance(e, Progress)} <= {0}
    assert started < min(kinds.index(WarmedUp), kinds.index(EpochEnd))

    assert outcome.warm_start
    assert (outcome.warm_start.task, outcome.warm_start.steps) == ("worker:0", 2 * STEPS)
    assert outcome.start_up_s > outcome.warm_start.duration_s > 0
    assert {record.steps for record in outcome.epochs} == {STEPS}
    warm_up = 10 + 5
    updates = 2 * ADAGRAD.pushes(STEPS) + 2 * (ADAGRAD.pushes(warm_up) + ADAGRAD.pushes(STEPS))
    assert outcome.updates_pushed == updates
    assert outcome.updates_applied == [updates]
    assert measure(outcome).warnings == []

    initial = {record.task: record.initial_loss for record in outcome.epochs}
    assert initial["worker:0"] is not None
    assert initial["worker:0"] > 1.5
    assert initial["worker:1"] is None  # its first step was not from the initial parameters
    assert max(record.loss for record in outcome.epochs) < 1.0


def test_one_process_and_one_worker_start_warm_with_the_same_bits(cluster: Cluster) -> None:
    settings: dict[str, Any] = {"warmup_steps": 0, "warm_start_epochs": 1}
    served = cluster.outcome(DOWNPOUR, 2, **settings)
    sequential = ProtocolSpec("sequential", learning_rate=0.1)
    alone = cluster.outcome(sequential, 1, parameter_servers=0, **settings)
    assert served.evaluations == alone.evaluations
    assert served.evaluations[0].global_step == 2 * STEPS
    cold = cluster.outcome(DOWNPOUR, 2, warmup_steps=0)
    assert served.epochs[0].loss < cold.epochs[0].loss
    assert served.epochs[0].initial_loss == pytest.approx(cold.epochs[0].initial_loss, rel=0.2)


@pytest.mark.parametrize("name", ["downpour", "sequential"])
def test_a_warm_start_that_diverges_is_told_from_an_epoch(cluster: Cluster, name: str) -> None:
    servers = int(name == "downpour")
    order = small_order(
        ProtocolSpec(name, learning_rate=1e30),
        1 + 2 * servers,
        parameter_servers=servers,
        warm_start_epochs=1,
    )
    outcome = cluster.run(order)
    assert (outcome.status, outcome.failure) == ("diverged", None)
    assert outcome.divergence
    assert (outcome.divergence.task, outcome.divergence.epoch) == ("worker:0", 0)
