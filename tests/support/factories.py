"""Trial outcomes with known, deterministic figures, for tests of their readers."""

from __future__ import annotations

from typing import Any

import msgspec

from dnnbench.analysis.analyse import Context
from dnnbench.analysis.crowding import HostFacts
from dnnbench.hosts.agents.clusters import Part
from dnnbench.trial.machine import MachineSnapshot, installed_versions
from dnnbench.trial.messages import AgentReady
from dnnbench.trial.outcome import (
    Divergence,
    EpochRecord,
    EvaluationRecord,
    Failure,
    Staleness,
    TrialOutcome,
    WarmupRecord,
)
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.spec import (
    CellKey,
    DataSpec,
    ModelSpec,
    ProtocolName,
    ProtocolSpec,
    TrialSpec,
)
from dnnbench.trial.tasks import task_names
from dnnbench.trial.usage import HostUse

STEPS = 550
EXAMPLES = 55_000
PUBLISHED_S = {
    CellKey(4, "downpour"): 3.52,
    CellKey(8, "downpour"): 3.53,
    CellKey(12, "downpour"): 3.55,
    CellKey(4, "dc-sgd"): 3.59,
    CellKey(8, "dc-sgd"): 3.61,
    CellKey(12, "dc-sgd"): 3.64,
}


def make_ready(pid: int = 1, cores: float = 2.0) -> AgentReady:
    """Return the first event of an agent."""
    machine = MachineSnapshot(
        taken_at="2026-11-22T14:28:41+00:00",
        hostname="node",
        cpu_model="a processor",
        cores=2,
        cores_usable=cores,
        memory_bytes=1 << 34,
        kernel="Linux 6.1",
        python="3.11.7",
        versions=installed_versions(),
        git_commit=None,
        load_average=(0.1, 0.2, 0.3),
    )
    return AgentReady(task="agent", pid=pid, preload_s=0.0, machine=machine)


def make_use(**changes: Any) -> HostUse:
    """Return the use of a machine with 2 cores for 10 s, half of it by the trial's roles."""
    fields: dict[str, Any] = {
        "duration_s": 10.0,
        "cores": 2,
        "load_before": 1.0,
        "load_after": 2.0,
        "busy_s": 10.0,
        "roles_s": 10.0,
        "steal_s": 0.0,
    }
    return HostUse(**(fields | changes))


def make_order(
    nodes: int = 4,
    protocol: ProtocolName | ProtocolSpec = "downpour",
    repeat: int = 1,
    **changes: Any,
) -> TrialSpec:
    """Return an order; ``changes`` replace its fields."""
    settings = ProtocolSpec(name=protocol) if isinstance(protocol, str) else protocol
    fields: dict[str, Any] = {
        "id": f"n{nodes:02d}-{settings.name}-r{repeat}",
        "sweep": "sweep-1",
        "nodes": nodes,
        "parameter_servers": 1,
        "repeat": repeat,
        "seed": 1000 + repeat,
        "data": DataSpec(name="synthetic-mnist", directory=None, digest="d1"),
        "model": ModelSpec(l2=1e-4, dropout=0.1),
        "protocol": settings,
        "epochs": 2,
    }
    return TrialSpec(**(fields | changes))


def make_outcome(order: TrialSpec, epoch_s: float = 3.5, **changes: Any) -> TrialOutcome:
    """Return the outcome of a trial that ended well, with a mean epoch time of ``epoch_s``.

    Workers lie 10 ms apart around it, epochs 20 ms. Staleness is spread evenly over 0 to
    2 (workers - 1); a worker takes 20 us of CPU an example, the parameter server 5 us.
    """
    workers, epochs = order.workers, order.epochs
    compensates = find_protocol(order.protocol.name).compensates
    updates = workers * (epochs * STEPS + order.warmup_steps)
    widest = 2 * (workers - 1) + 1
    stale = Staleness([STEPS // widest + (s < STEPS % widest) for s in range(widest)])
    records = [
        EpochRecord(
            task=f"worker:{worker}",
            epoch=epoch,
            steps=STEPS,
            examples=EXAMPLES,
            duration_s=epoch_s
            + 0.01 * (worker - (workers - 1) / 2)
            + 0.02 * (epoch - (epochs + 1) / 2),
            loss=0.5 / epoch,
            cpu_s=20e-6 * EXAMPLES,
            parameter_server_cpu_s=5e-6 * EXAMPLES,
            staleness=stale,
            compensation_ratio=0.001 * workers if compensates else None,
        )
        for epoch in range(1, epochs + 1)
        for worker in range(workers)
    ]
    fields: dict[str, Any] = {
        "order": order,
        "status": "ok",
        "started_at": "2017-12-01T12:00:00Z",
        "duration_s": epochs * epoch_s + 5.0,
        "start_up_s": 4.0,
        "training_s": epochs * epoch_s,
        "parameter_server_cpu_s": 5e-6 * EXAMPLES * len(records),
        "updates_pushed": updates,
        "updates_applied": [updates] * max(order.parameter_servers, 1),
        "placement": {f"worker:{worker}": "localhost" for worker in range(workers)},
        "warmups": [
            WarmupRecord(f"worker:{worker}", order.warmup_steps, 0.3) for worker in range(workers)
        ],
        "epochs": records,
        "evaluations": [
            EvaluationRecord(epoch, STEPS * epoch, 0.90 + 0.01 * epoch, 0.89 + 0.01 * epoch)
            for epoch in range(1, epochs + 1)
        ]
        + [EvaluationRecord(None, updates, 0.960, 0.955)],
    }
    return TrialOutcome(**(fields | changes))


def make_failed(
    order: TrialSpec, cause: str = "the connection was refused", **changes: Any
) -> TrialOutcome:
    """Return the outcome of a trial that failed at worker:1."""
    fields: dict[str, Any] = {
        "order": order,
        "status": "failed",
        "started_at": "2017-12-01T12:00:00Z",
        "duration_s": 2.0,
        "failure": Failure(cause=cause, task="worker:1", host="localhost"),
    }
    return TrialOutcome(**(fields | changes))


def make_diverged(order: TrialSpec, **changes: Any) -> TrialOutcome:
    """Return the outcome of a trial whose loss was not finite in the first epoch."""
    fields: dict[str, Any] = {
        "status": "diverged",
        "failure": None,
        "divergence": Divergence("worker:1", 1, 12),
    }
    return make_failed(order, **(fields | changes))


def make_not_run(order: TrialSpec, **changes: Any) -> TrialOutcome:
    """Return the outcome of a trial for which node12 was missing."""
    fields: dict[str, Any] = {
        "status": "not run",
        "duration_s": 0.0,
        "failure": Failure(cause="connection refused", host="node12"),
    }
    return make_failed(order, **(fields | changes))


def make_sweep(repeats: int = 3, **order_changes: Any) -> list[TrialOutcome]:
    """Return a whole sweep with the means of Table 2; repeats lie 30 ms apart around them."""
    return [
        make_outcome(
            make_order(key.nodes, key.protocol, repeat, **order_changes),
            published_s + 0.03 * (repeat - (repeats + 1) / 2),
        )
        for key, published_s in PUBLISHED_S.items()
        for repeat in range(1, repeats + 1)
    ]


def spread(order: TrialSpec) -> dict[str, str]:
    """Return a placement with one task per host: ``node1``, ``node2`` and so on."""
    tasks = task_names(order.nodes, order.parameter_servers)
    return {task: f"node{number}" for number, task in enumerate(tasks, start=1)}


def make_hosts(number: int, cores: float = 4.0, **changes: Any) -> dict[str, HostFacts]:
    """Return hosts with one machine each; ``changes`` replace facts of all of them."""
    facts: dict[str, Any] = {"cpu_model": "a processor", "cores": cores, "machine_cores": 4}
    names = [f"node{n}" for n in range(1, number + 1)]
    return {name: HostFacts(**({"machine": name} | facts | changes)) for name in names}


def make_sweep_on_hosts(
    repeats: int = 3, **order_changes: Any
) -> tuple[list[TrialOutcome], Context]:
    """Return the sweep of Table 2 as the report ran it, one machine per node, and its context."""
    outcomes = [
        msgspec.structs.replace(outcome, placement=spread(outcome.order))
        for outcome in make_sweep(repeats, **order_changes)
    ]
    return outcomes, make_context(hosts=make_hosts(12), host_cores=48)


def make_context(**changes: Any) -> Context:
    """Return the context of ``make_sweep``: 3 repeats on a machine of 2 cores."""
    fields: dict[str, Any] = {
        "profile": "quick",
        "host_cores": 2,
        "cpu_model": "Example CPU @ 2.00GHz",
        "planned_nodes": [4, 8, 12],
        "planned_protocols": ["downpour", "dc-sgd"],
        "planned_repeats": 3,
        "data_note": "replaced mnist because no mirror answered",
        "versions": {"python": "3.11.0", "tensorflow": "2.21.0", "dnnbench": "0.1.0"},
    }
    return Context(**(fields | changes))


def make_part(cluster: str = "c1", host: str = "node1", **changes: Any) -> Part:
    """Return a cluster's part on a host, as its keeper reports it; ``changes`` replace fields."""
    fields: dict[str, Any] = {
        "cluster": cluster,
        "host": host,
        "owner": "me@here",
        "purpose": "launch of 3 nodes",
        "since": 0.0,
        "pid": 1,
        "ports": [23000],
        "package": "new",
        "socket": "",
        "attached": False,
        "controller": None,
        "doing": "idle",
        "launcher": None,
        "lease_left_s": 600.0,
    }
    return Part(**{**fields, **changes})
