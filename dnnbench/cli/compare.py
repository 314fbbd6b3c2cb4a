"""``dnnbench compare``: by how much a sweep differs from another one, or from Table 2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import click
from msgspec import Meta

from dnnbench.analysis.compare import (
    METRICS,
    PUBLISHED,
    Side,
    compare,
    compare_with_published,
)
from dnnbench.analysis.context import load_analysis
from dnnbench.analysis.trial_figures import counted_trials
from dnnbench.cli.shared.completion import sweep_argument
from dnnbench.cli.shared.options import checked_option, common_options, settings_options
from dnnbench.cli.shared.output import deliver, output_options
from dnnbench.errors import ConfigError, RegressionError, ResultsError
from dnnbench.report.comparison import FORMATS
from dnnbench.settings.load import load
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.analysis.compare import Comparison
    from dnnbench.cli.shared.printer import Printer

_DEFAULT_METRICS: Final = ("epoch-time", "test-accuracy")

_Change = Annotated[float, Meta(ge=0, le=1_000_000)]


@click.command("compare")
@sweep_argument("first", required=True)
@sweep_argument("second", required=True)
@click.option(
    "--metric",
    "metrics",
    type=click.Choice(list(METRICS)),
    multiple=True,
    help="Figure to compare; several times for several.  [default: epoch-time, test-accuracy]",
)
@checked_option(
    "--fail-above",
    _Change,
    "X",
    "End with 7 if a cell of SECOND is worse by more than X % (accuracy: points), as far as "
    "its whole interval.",
)
@click.option(
    "--unlike", is_flag=True, help="Compare sweeps of other settings, too; they are listed."
)
@output_options(FORMATS, "Write to a file.")
@settings_options("compare")
@common_options()
@click.pass_obj
def command(
    printer: Printer,
    *,
    first: str,
    second: str,
    metrics: tuple[str, ...],
    fail_above: float | None,
    unlike: bool,
    layout: str,
    output: Path | None,
    settings: dict[str, object],
    config_path: Path | None,
) -> None:
    """Compare a sweep with another one, or with Table 2.

    FIRST and SECOND are names or paths of sweeps; SECOND is judged. FIRST may be `published`:
    Table 2 of the report. Cells with the same nodes, protocol and settings are compared.
    """
    results = Path(load(config_path, os.environ, settings).config.sweep.results_dir)
    if second == PUBLISHED:
        raise ConfigError("expected a sweep", where="SECOND", remedy="published goes first")
    after = _side(results, second, printer)
    if first == PUBLISHED:
        comparison = compare_with_published(after, metrics or ("epoch-time",))
    else:
        comparison = compare(_side(results, first, printer), after, metrics or _DEFAULT_METRICS)
    if comparison.differences and not unlike:
        raise ResultsError(
            f"the settings differ: {'; '.join(comparison.differences)}",
            where=f"{comparison.first} and {comparison.second}",
            remedy="--unlike compares them all the same",
        )
    if not comparison.rows:
        raise ResultsError(
            "no cell is in both", where=f"{comparison.first} and {comparison.second}"
        )
    deliver(printer, FORMATS[layout](comparison, printer.screen(output)), output)
    if fail_above is not None:
        _judge(comparison, fail_above, printer)


def _side(results: Path, name: str, printer: Printer) -> Side:
    store = open_sweep(results, name)
    outcomes = store.outcomes()
    analysis, notes = load_analysis(store, outcomes=outcomes)
    for note in notes:
        printer.note(f"note: {store.name}: {note}")
    seed = store.resolved.config.sweep.seed
    return Side(store.name, analysis, counted_trials(outcomes), seed)


def _judge(comparison: Comparison, least: float, printer: Printer) -> None:
    """Fail if a cell is worse by more than ``least``.

    Raises:
        RegressionError: one is.
    """
    unknown = [row.cell for row in comparison.rows if row.told == "unknown"]
    if unknown:
        printer.note(f"note: cannot be told with a single trial: {_listed(unknown)}")
    worse = [row for row in comparison.rows if row.is_worse_by(least)]
    if worse:
        cells = [f"{row.cell} ({row.metric})" for row in worse]
        raise RegressionError(
            f"worse than {comparison.first} by more than {least:g}: {_listed(cells)}",
            where=comparison.second,
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
