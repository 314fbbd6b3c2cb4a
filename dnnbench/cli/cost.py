"""``dnnbench cost``: Table 1 and the cost of a sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dnnbench.cli.shared.completion import sweep_argument
from dnnbench.cli.shared.options import common_options, settings_options
from dnnbench.cli.shared.output import deliver, output_options
from dnnbench.cost import (
    basis_of_book,
    basis_of_own_hardware,
    basis_of_own_hosts,
    cost_of_sweep,
    load_book,
    table_1,
)
from dnnbench.cost.formats import FORMATS
from dnnbench.errors import ResultsError
from dnnbench.settings.load import load
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.cost import Basis
    from dnnbench.settings.schema import CostConfig, Resolved
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.outcome import TrialOutcome

_PRICED_BY: Final = ("cost.price_book", "cost.machine", "cost.usd_per_hour")


@click.command("cost")
@sweep_argument()
@output_options(FORMATS, "Write to a file.")
@settings_options("cost")
@common_options()
@click.pass_obj
def command(
    printer: Printer,
    *,
    sweep: str | None,
    layout: str,
    output: Path | None,
    settings: dict[str, object],
    config_path: Path | None,
) -> None:
    """Show Table 1 and the cost of a sweep.

    SWEEP is the name of a sweep or the path of its directory; by default the newest. Table 1 is
    shown as published and as recomputed from the price book of its month. Without any stored sweep,
    it is shown alone.
    """
    resolved = load(config_path, os.environ, settings)
    config = resolved.config
    basis = _basis(config.cost)
    store = _find(Path(config.sweep.results_dir), sweep, printer)
    cost = None
    if store:
        outcomes = store.outcomes()
        basis = _own_prices(resolved, store, outcomes) or basis
        cost = cost_of_sweep(outcomes, basis, target_accuracy=config.cost.target_accuracy)
        printer.note(f"sweep {store.name}")
        for note in store.notes:
            printer.note(f"note: {note}")
    deliver(printer, FORMATS[layout](table_1(), cost, printer.screen(output)), output)


def _basis(config: CostConfig) -> Basis:
    if config.usd_per_hour is not None:
        return basis_of_own_hardware(config.usd_per_hour)
    return basis_of_book(load_book(config.price_book), config.machine)


def _own_prices(
    resolved: Resolved, store: SweepStore, outcomes: Sequence[TrialOutcome]
) -> Basis | None:
    """Return the hosts' own prices if each host has one and no option or variable overrides them.

    A price in the current settings replaces the one that the sweep was run with.
    """
    if any(resolved.origins[key].startswith(("--", ENVIRONMENT_PREFIX)) for key in _PRICED_BY):
        return None
    listed = (*store.resolved.config.hosts, *resolved.config.hosts)
    prices = {host.name: host.usd_per_hour for host in listed if host.usd_per_hour is not None}
    used = {host for outcome in outcomes for host in outcome.placement.values()}
    if not used or used - prices.keys():
        return None
    return basis_of_own_hosts({host: prices[host] for host in sorted(used)})


def _find(results_dir: Path, sweep: str | None, printer: Printer) -> SweepStore | None:
    """Return the named sweep or the newest; print a note and return None if there is none yet."""
    try:
        return open_sweep(results_dir, sweep)
    except ResultsError as error:
        if sweep is not None:
            raise
        printer.note(f"note: only Table 1 is shown: {error}")
        return None
