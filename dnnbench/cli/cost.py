"""``dnnbench cost``: Table 1, the cost of a sweep, and plans to reach an accuracy in time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import click
from msgspec import Meta

from dnnbench.analysis.context import load_analysis
from dnnbench.cli.shared.completion import sweep_argument
from dnnbench.cli.shared.options import checked_option, common_options, settings_options
from dnnbench.cli.shared.output import deliver, output_options
from dnnbench.cli.shared.prices import prices_of_settings, prices_of_sweep
from dnnbench.cost import cost_of_sweep, plans_within, table_1
from dnnbench.cost.formats import FORMATS
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.settings.load import load
from dnnbench.settings.schema import settings as all_settings
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer
    from dnnbench.cost import SweepCost
    from dnnbench.settings.schema import Resolved
    from dnnbench.sweep.store import SweepStore

_Percent = Annotated[float, Meta(gt=0, le=100)]
_UNITS_S: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(?P<number>\d{1,6}(\.\d{1,6})?)\s*(?P<unit>s|min|h|d)")


def _seconds(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """Read a duration such as ``2h``."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None or not float(match["number"]):
        raise click.BadParameter(
            f"expected a duration above 0, such as 90min or 2h, got {text!r}",
            param_hint="--within",
        )
    return float(match["number"]) * _UNITS_S[match["unit"]]


@click.command("cost")
@sweep_argument()
@output_options(FORMATS, "Write to a file.")
@click.option(
    "--within",
    "within_s",
    metavar="TIME",
    callback=_seconds,
    help="Rank what reaches the target accuracy within this time, such as 2h, by its cost.",
)
@checked_option(
    "--accuracy",
    _Percent,
    "PERCENT",
    "The target accuracy in percent, instead of --target-accuracy.",
)
@settings_options("cost")
@common_options()
@click.pass_obj
def command(
    printer: Printer,
    *,
    sweep: str | None,
    layout: str,
    output: Path | None,
    within_s: float | None,
    accuracy: float | None,
    settings: dict[str, Any],
    config_path: Path | None,
) -> None:
    """Show Table 1 and the cost of a sweep.

    SWEEP is the name of a sweep or the path of its directory; by default the newest. Table 1 is
    shown as published and as recomputed from the price book of its month. Without any stored sweep,
    it is shown alone.
    """
    _merge_accuracy(settings, accuracy)
    resolved = load(config_path, os.environ, settings)
    cost = None
    try:
        store = open_sweep(Path(resolved.config.sweep.results_dir), sweep)
    except ResultsError as error:
        if sweep is not None:
            raise
        prices_of_settings(
            resolved.config.cost
        )  # refuse what cannot be used, though there is nothing to price
        printer.note(f"note: only Table 1 is shown: {error}")
    else:
        cost = _priced(resolved, store, within_s)
        printer.note(f"sweep {store.name}")
        for note in store.notes:
            printer.note(f"note: {note}")
    deliver(printer, FORMATS[layout](table_1(), cost, printer.screen(output)), output)


def _merge_accuracy(settings: dict[str, Any], percent: float | None) -> None:
    if percent is None:
        return
    key = "cost.target_accuracy"
    if settings[key] is not None:
        option = all_settings()[key].option
        raise ConfigError("expected one accuracy, found two", where=f"--accuracy, {option}")
    settings[key] = percent / 100


def _priced(resolved: Resolved, store: SweepStore, within_s: float | None) -> SweepCost:
    outcomes = store.outcomes()
    analysis, _ = load_analysis(store, outcomes=outcomes)  # refuses what no report is made of
    accuracy = resolved.config.cost.target_accuracy
    if accuracy is None:
        accuracy = store.resolved.config.cost.target_accuracy
    if within_s is not None and accuracy is None:
        raise ConfigError(
            "expected the accuracy to reach within this time",
            where="--within",
            remedy="add, for example, --accuracy 97",
        )
    prices = prices_of_sweep(resolved, store, outcomes)
    cost = cost_of_sweep(
        outcomes,
        prices.basis,
        target_accuracy=accuracy,
        roles_per_core={cell.key: cell.roles_per_core for cell in analysis.cells},
        types=prices.types,
        prices=prices.note,
        earlier=store.earlier,
    )
    if within_s is None:
        return cost
    return plans_within(cost, outcomes, within_s, resolved.config.cost.throughput, prices.types)
