"""Stored sweeps with made-up outcomes, as large as real ones, for ``report`` to read."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from dnnbench.data.locate import locate
from dnnbench.settings.load import load
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.results import create, new_sweep_id
from dnnbench.trial.machine import snapshot
from dnnbench.trial.outcome import (
    EpochRecord,
    EvaluationRecord,
    Staleness,
    TrialOutcome,
    WarmupRecord,
)
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.trial.spec import TrialSpec

_STEPS, _EXAMPLES = 550, 55_000


def store_sweep(results_dir: Path, profile: str) -> Path:
    """Store a finished sweep of a profile; return its path."""
    resolved = load(None, {}, {"sweep.profile": profile, "train.dataset": "synthetic-mnist"})
    sweep_id = new_sweep_id(results_dir)
    plan = make_plan(resolved.config, locate("synthetic-mnist").order, sweep_id)
    store = create(results_dir, resolved, plan, snapshot())
    for order in plan.orders:
        store.append(make_outcome(order, plan.placement(order)))
    store.end_session((0.0, 0.0, 0.0))
    return store.path


def make_outcome(order: TrialSpec, placement: dict[str, str]) -> TrialOutcome:
    """Return an outcome with the records of a real trial and plausible random figures."""
    rng = random.Random(order.seed)
    tasks = [f"worker:{index}" for index in range(order.workers)]
    epoch_s = 0.3 * order.workers
    records = [
        _epoch(order, task, epoch, epoch_s * rng.uniform(0.9, 1.1))
        for epoch in range(1, order.epochs + 1)
        for task in tasks
    ]
    updates = order.workers * (order.warmup_steps + order.epochs * _STEPS)
    training_s = order.epochs * epoch_s
    return TrialOutcome(
        order=order,
        status="ok",
        started_at="2026-01-01T00:00:00+00:00",
        duration_s=training_s + 4.0,
        start_up_s=3.0,
        training_s=training_s,
        parameter_server_cpu_s=sum(record.parameter_server_cpu_s for record in records),
        updates_pushed=updates,
        updates_applied=[updates] * order.parameter_servers,
        placement=placement,
        warmups=[WarmupRecord(task, order.warmup_steps, 0.3) for task in tasks],
        epochs=records,
        evaluations=[
            EvaluationRecord(epoch, updates, 0.9, rng.uniform(0.88, 0.92), "0" * 64)
            for epoch in (*range(1, order.epochs + 1), None)
        ],
    )


def _epoch(order: TrialSpec, task: str, epoch: int, duration_s: float) -> EpochRecord:
    widest = 3 * order.workers
    counts = [_STEPS // widest + (late < _STEPS % widest) for late in range(widest)]
    return EpochRecord(
        task=task,
        epoch=epoch,
        steps=_STEPS,
        examples=_EXAMPLES,
        duration_s=duration_s,
        loss=0.5 / epoch,
        cpu_s=1.0,
        parameter_server_cpu_s=0.3,
        staleness=Staleness(counts),
        compensation_ratio=0.01 if find_protocol(order.protocol.name).compensates else None,
    )
