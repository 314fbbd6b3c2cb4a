"""``dnnbench predict``: a sweep's figures extrapolated to other numbers of hosts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import click
from msgspec import Meta

from dnnbench.analysis.context import load_analysis
from dnnbench.analysis.inputs import (
    DEFAULT_BANDWIDTH_BIT_PER_S,
    DEFAULT_PARAMETER_S,
    DEFAULT_ROUND_TRIP_S,
    Figure,
    Given,
    read_inputs,
)
from dnnbench.analysis.prediction import Hosts, predict
from dnnbench.analysis.rehearsed import rehearsed_growth
from dnnbench.analysis.worthwhile import published_fits, thresholds
from dnnbench.cli.shared.completion import sweep_argument
from dnnbench.cli.shared.options import checked_option, common_options, settings_options
from dnnbench.cli.shared.output import deliver, output_options
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.report.prediction_formats import FORMATS, Forecast
from dnnbench.settings.load import load
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.schema import Resolved

_NODES: Final = "4,8,12,100,1000"
_MILLI: Final = 1e-3
_MEGA: Final = 1e6
_NANO: Final = 1e-9

# The upper bounds are far beyond any host; they keep sums finite and a prediction within a second.
_NodeCounts = Annotated[
    tuple[Annotated[int, Meta(ge=2, le=10_000)], ...], Meta(min_length=1, max_length=100)
]
_ServerCounts = Annotated[
    tuple[Annotated[int, Meta(ge=1, le=9_999)], ...], Meta(min_length=1, max_length=20)
]
_Cores = Annotated[int, Meta(ge=1, le=1024)]
_Parameters = Annotated[int, Meta(ge=1, le=10**12)]
_Time = Annotated[float, Meta(ge=0, le=1e6)]
_PositiveTime = Annotated[float, Meta(gt=0, le=1e6)]
_Bandwidth = Annotated[float, Meta(gt=0, le=1e9)]


@click.command("predict")
@sweep_argument()
@checked_option(
    "--nodes",
    _NodeCounts,
    "N,N,...",
    f"Node counts, each at most 10000.  [default: {_NODES}]",
    _NODES,
)
@checked_option("--ps", _ServerCounts, "K,K,...", "Parameter servers.  [default: the sweep's]")
@checked_option(
    "--cores-per-host",
    _Cores,
    "N",
    "Cores of a host.  [default: the vCPUs of --machine, else 1]",
)
@checked_option("--bandwidth", _Bandwidth, "MBIT/S", "Bandwidth of a host's link.  [default: 1000]")
@checked_option("--round-trip", _Time, "MS", "Round trip between two hosts.  [default: 0.2]")
@checked_option(
    "--parameters", _Parameters, "N", "Parameters of the model.  [default: the sweep's]"
)
@checked_option(
    "--worker-ms",
    _Time,
    "MS",
    "A worker's own time per step, in which it waits for nobody.  [default: from the sweep]",
)
@checked_option(
    "--server-ms",
    _PositiveTime,
    "MS",
    "CPU time of a parameter server per update.  [default: from the sweep]",
)
@checked_option(
    "--server-ns-per-parameter",
    _Time,
    "NS",
    "Part of it that each parameter of a shard takes.  [default: 1.6]",
)
@checked_option(
    "--one-process-ms",
    _PositiveTime,
    "MS",
    "A step of one process without messages.  [default: the sweep's sequential trials]",
)
@output_options(FORMATS, "Write to a file.")
@settings_options("predict")
@common_options()
@click.pass_obj
def command(
    printer: Printer,
    *,
    sweep: str | None,
    nodes: tuple[int, ...],
    ps: tuple[int, ...] | None,
    cores_per_host: int | None,
    bandwidth: float | None,
    round_trip: float | None,
    parameters: int | None,
    worker_ms: float | None,
    server_ms: float | None,
    server_ns_per_parameter: float | None,
    one_process_ms: float | None,
    layout: str,
    output: Path | None,
    settings: dict[str, object],
    config_path: Path | None,
) -> None:
    """Predict a sweep on other numbers of hosts.

    SWEEP is the name of a sweep or the path of its directory; by default the newest. Its times per
    step and update are the inputs of a queueing model, which gives seconds per epoch, utilization
    and staleness for hosts with cores of their own, and the cost with --machine, --price-book or
    --usd-per-hour.
    """
    resolved = load(config_path, os.environ, settings)
    store = open_sweep(Path(resolved.config.sweep.results_dir), sweep)
    outcomes = store.outcomes()
    analysis, notes = load_analysis(store, outcomes=outcomes)
    for note in notes:
        printer.note(f"note: {note}")
    given = Given(
        parameters=parameters,
        worker_s=_scaled(worker_ms, _MILLI),
        server_s=_scaled(server_ms, _MILLI),
        one_process_s=_scaled(one_process_ms, _MILLI),
    )
    inputs = read_inputs(analysis, outcomes, given)
    price, vcpus = _price(resolved)
    if price and inputs.workload.pace_ms:
        raise ResultsError(
            "its steps were paced; a wait on purpose has no price",
            where=inputs.workload.sweep,
            remedy="predict without a price, or from a sweep that was run without --pace",
        )
    hosts = Hosts(
        cores=Figure(cores_per_host, "given", "--cores-per-host") if cores_per_host else vcpus,
        bandwidth_bit_per_s=_figure(
            bandwidth, _MEGA, "--bandwidth", DEFAULT_BANDWIDTH_BIT_PER_S, "an ordinary network"
        ),
        round_trip_s=_figure(
            round_trip, _MILLI, "--round-trip", DEFAULT_ROUND_TRIP_S, "an ordinary network"
        ),
        parameter_s=_figure(
            server_ns_per_parameter,
            _NANO,
            "--server-ns-per-parameter",
            DEFAULT_PARAMETER_S,
            "mnist-dnn in docs/performance.md",
        ),
        usd_per_hour=price,
    )
    servers = sorted(set(ps or (analysis.settings.parameter_servers,)))
    prediction = predict(inputs, hosts, sorted(set(nodes)), servers)
    if not prediction.rows:
        raise ConfigError(f"nothing to predict: {'; '.join(prediction.skipped)}", where="--nodes")
    forecast = Forecast(
        prediction,
        thresholds(prediction, servers),
        published_fits(prediction),
        rehearsed_growth(analysis),
    )
    deliver(printer, FORMATS[layout](forecast, printer.screen(output)), output)


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value * unit


def _figure(value: float | None, unit: float, option: str, default: float, source: str) -> Figure:
    """Return a given figure in its base unit, or the assumed one."""
    if value is None:
        return Figure(default, "assumed", f"{source}; {option} replaces it")
    return Figure(value * unit, "given", option)


def _price(resolved: Resolved) -> tuple[Figure | None, Figure]:
    """Return the price of a host, None if the settings name none, and its cores."""
    one_core = Figure(1, "assumed", "one core; --cores-per-host replaces it")
    cost, origins = resolved.config.cost, resolved.origins
    if cost.usd_per_hour is not None:
        origin = origins["cost.usd_per_hour"]
        return Figure(cost.usd_per_hour, "given", origin), one_core
    if all(origins[f"cost.{name}"] == "default" for name in ("machine", "price_book", "region")):
        return None, one_core
    from dnnbench.cost import basis_of_book, load_book  # only with a price

    basis = basis_of_book(load_book(cost.price_book, cost.region), cost.machine)
    price = Figure(float(basis.rate.usd_per_hour), "given", f"{basis.machine} in {basis.book}")
    if basis.vcpus is None:
        return price, one_core
    return price, Figure(basis.vcpus, "given", f"vCPUs of {basis.machine}")
