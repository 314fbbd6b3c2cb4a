"""Tables of a prediction, the same for a terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from dnnbench.analysis.prediction import MOST_CORES, WORKER
from dnnbench.report.prediction_checks import published, rehearsal
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import count_text, seconds
from dnnbench.trial.spec import EPOCH_DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.analysis.inputs import Figure
    from dnnbench.analysis.prediction import Prediction, Row
    from dnnbench.analysis.rehearsed import RehearsedGrowth
    from dnnbench.analysis.worthwhile import PublishedFit, Threshold
    from dnnbench.text.tables import Fields

_Number = TypeVar("_Number", int, float)

_MS: Final = 1e3
_MBIT: Final = 1e6
_MOST_SHOWN: Final = 1e9
"""Parameters above which a limit is shown as none."""


def facts(prediction: Prediction) -> Fields:
    """Return the sweep and the task, one line each."""
    workload = prediction.inputs.workload
    definition = workload.epoch_definition
    pace = f", paced: {workload.pace_ms:g} ms or more" if workload.pace_ms else ""
    return [
        ("Sweep", workload.sweep),
        ("Data", workload.data),
        ("Model", f"{workload.model}, {workload.parameters.value:,.0f} parameters"),
        ("Step", f"batch of {workload.batch_size}{pace}"),
        ("Epoch", f"{definition}: {EPOCH_DEFINITIONS[definition]}"),
    ]


def warnings(prediction: Prediction) -> list[str]:
    """Return what limits the trust in the figures."""
    found = []
    if prediction.inputs.is_disturbed:
        found.append(
            "others used the machines during the sweep, so its times are too long, and those here "
            "with them; `dnnbench report` shows by how much they used them"
        )
    shared = [
        costs.nodes
        for costs in prediction.inputs.costs
        if costs.step_s is None and costs.worker_cpu_s.origin == "measured"
    ]
    if shared:
        nodes = " and ".join(map(str, sorted(set(shared))))
        found.append(
            f"roles shared cores at {nodes} nodes, so their wall time says nothing about hosts "
            "with cores of their own. A worker's own time is its CPU time instead: without the "
            "wait for threads to wake, with all work that could overlap"
        )
    return found


def prediction_tables(
    prediction: Prediction,
    thresholds: list[Threshold],
    fits: list[PublishedFit],
    rehearsed: list[RehearsedGrowth],
) -> list[Table]:
    """Return the tables in order, without those that have no rows."""
    tables = [
        epochs(prediction),
        saturation(prediction),
        distribution(prediction, thresholds),
        published(fits),
        rehearsal(rehearsed),
        inputs(prediction),
        not_predicted(prediction),
    ]
    return [table for table in tables if table.rows]


def epochs(prediction: Prediction) -> Table:
    """Return seconds per epoch, utilization, staleness and cost by nodes."""
    rows = prediction.rows
    measured = any(row.measured_epoch_s is not None for row in rows)
    speedup = any(row.speedup is not None for row in rows)
    priced = any(row.usd_per_pass is not None for row in rows)
    columns = [
        Column("Nodes"),
        Column("PS"),
        Column("Protocol", is_text=True),
        Column("s/epoch"),
        Column("from"),
        Column("to"),
        *([Column("measured")] if measured else []),
        Column("CPU %"),
        Column("link %"),
        Column("staleness"),
        *([Column("x one")] if speedup else []),
        *([Column("USD/pass")] if priced else []),
        Column("bound by", is_text=True),
    ]

    def cells(row: Row) -> list[str]:
        return [
            str(row.nodes),
            str(row.servers),
            row.protocol,
            seconds(row.epoch_s),
            seconds(row.shortest_epoch_s),
            seconds(row.longest_epoch_s),
            *([_maybe(row.measured_epoch_s, seconds)] if measured else []),
            f"{100 * row.cpu_utilization:.0f}",
            f"{100 * row.link_utilization:.0f}",
            _maybe(row.staleness, "{:.1f}".format),
            *([_maybe(row.speedup, "{:.2f}".format)] if speedup else []),
            *([_maybe(row.usd_per_pass, "{:.2g}".format)] if priced else []),
            row.bound_by,
        ]

    notes = [
        (
            "s/epoch: mean value analysis of a closed network of queues, with constant times of "
            "updates and messages. From: with constant times of workers, too, so that none waits "
            "before a resource is saturated; to: with exponential times of updates and messages."
        ),
        (
            "CPU % and link %: utilization of a parameter server's cores and of its link, in the "
            "busier direction."
        ),
        (
            "Staleness: mean in updates; the measured share of an update per other worker, times "
            "the other workers."
        ),
        f"Bound by: {WORKER} until a resource of the parameter servers is saturated.",
    ]
    if speedup:
        notes.append("x one: examples/s of all workers over those of one process, as measured.")
    if priced:
        notes.append(
            "USD/pass: list price of all hosts for one pass over the data, without start-up."
        )
    return Table(
        f"Predicted for hosts with cores of their own ({prediction.inputs.workload.data})",
        columns,
        [cells(row) for row in rows],
        [*notes, *(f"Not predicted: {reason}." for reason in prediction.skipped)],
    )


def saturation(prediction: Prediction) -> Table:
    """Return which resource saturates first, and what moves that."""
    return Table(
        "Saturation: the resource that is busy first",
        [
            Column("Protocol", is_text=True),
            Column("PS"),
            Column("Hosts", is_text=True),
            Column("Resource", is_text=True),
            Column("from workers"),
            Column("updates/s"),
        ],
        [
            [
                found.protocol,
                str(found.servers),
                found.change or "as predicted for",
                found.resource,
                f"{found.workers:,.1f}",
                f"{found.updates_per_s:,.0f}",
            ]
            for found in prediction.saturation
        ],
        [
            (
                "From as many workers on, more of them hardly bring more updates; updates/s: the "
                "most that the resource lets through."
            ),
            (
                f"More than {MOST_CORES} cores do not help a parameter server: the updates of its "
                "shard take turns."
            ),
        ],
    )


def distribution(prediction: Prediction, thresholds: list[Threshold]) -> Table:
    """Return from which model size on distributing pays."""
    one = prediction.inputs.workload.one_process_s
    notes = ["Pays from: the step of one process from which enough workers are faster than it."]
    if one is None:
        notes.append(
            "The other columns cannot be told: the sweep has no trial of one process; run one with "
            "--protocols sequential,downpour, or give --one-process-ms."
        )
    else:
        notes += [
            f"One process takes {_ms(one)} ms per step ({one.source}).",
            (
                "Up to and from parameters: with this step of one process, and with one that grows "
                "with the parameters, as that of dense layers; '-': at no size."
            ),
        ]
    return Table(
        "Size from which distributing pays",
        [
            Column("Protocol", is_text=True),
            Column("PS"),
            Column("pays from ms/step"),
            Column("faster from workers"),
            Column("up to parameters"),
            Column("from parameters"),
        ],
        [
            [
                limit.protocol,
                str(limit.servers),
                f"{limit.arithmetic_s * _MS:.3g}",
                _maybe(limit.workers, "{:,}".format),
                _maybe(limit.most_parameters, _parameters),
                _maybe(limit.least_parameters, _parameters),
            ]
            for limit in thresholds
        ],
        notes,
    )


def inputs(prediction: Prediction) -> Table:
    """Return every input with its value and its origin."""
    workload, hosts = prediction.inputs.workload, prediction.hosts
    shown: list[tuple[str, str, Figure]] = []
    for costs in prediction.inputs.costs:
        own = prediction.own_s[costs.protocol]
        shown.append((f"{costs.protocol}: worker's own time per step", f"{_ms(own)} ms", own))
        if own is not costs.worker_cpu_s:
            worker = costs.worker_cpu_s
            shown.append((f"{costs.protocol}: worker's CPU per step", f"{_ms(worker)} ms", worker))
        server = costs.server_cpu_s
        name = f"{costs.protocol}: server's CPU per update, {costs.servers} PS"
        shown.append((name, f"{_ms(server)} ms", server))
    if one := workload.one_process_s:
        shown.append(("one process, per step", f"{_ms(one)} ms", one))
    bandwidth = f"{hosts.bandwidth_bit_per_s.value / _MBIT:,.12g} Mbit/s"
    shown += [
        ("parameters", f"{workload.parameters.value:,.0f}", workload.parameters),
        (
            "server's CPU per parameter",
            f"{hosts.parameter_s.value * 1e9:.2g} ns",
            hosts.parameter_s,
        ),
        ("cores per host", f"{hosts.cores.value:g}", hosts.cores),
        ("bandwidth of a host", bandwidth, hosts.bandwidth_bit_per_s),
        ("round trip", f"{_ms(hosts.round_trip_s)} ms", hosts.round_trip_s),
    ]
    if price := hosts.usd_per_hour:
        shown.append(("price of a host", f"{price.value:.4g} USD/h", price))
    return Table(
        "Inputs",
        [
            Column("Input", is_text=True),
            Column("value"),
            Column("origin", is_text=True),
            Column("from", is_text=True),
        ],
        [[name, value, figure.origin, figure.source] for name, value, figure in shown],
        ["Options replace every input; `dnnbench predict --help` lists them."],
    )


def not_predicted(prediction: Prediction) -> Table:
    """Return the protocols of the sweep without a prediction, and why."""
    refused = prediction.inputs.not_predicted
    return Table(
        "Protocols without a prediction",
        [Column("Protocol", is_text=True), Column("Reason", is_text=True)],
        [[name, reason] for name, reason in refused.items()],
        [f"{count_text(len(refused), 'protocol')} of this sweep."] if refused else [],
    )


def _ms(figure: Figure) -> str:
    return f"{figure.value * _MS:.3g}"


def _parameters(number: float) -> str:
    return f"{number:,.0f}" if number < _MOST_SHOWN else f"{number:.1e}"


def _maybe(value: _Number | None, write: Callable[[_Number], str]) -> str:
    return NONE if value is None else write(value)
