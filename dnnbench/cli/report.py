"""``dnnbench report``: a sweep's figures beside the published ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnbench.analysis.context import load_analysis
from dnnbench.cli.shared.completion import sweep_argument
from dnnbench.cli.shared.options import common_options, named_file, settings_options
from dnnbench.cli.shared.output import (
    deliver,
    is_standard_output,
    output_options,
)
from dnnbench.errors import ConfigError
from dnnbench.report.figures.drawing import FIGURES
from dnnbench.report.figures.picture import Subject
from dnnbench.report.files import write_figure, write_markdown
from dnnbench.report.formats import FORMATS, Wish
from dnnbench.report.rows.table import ROWS
from dnnbench.settings.load import load
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.schema import Config
    from dnnbench.sweep.store import SweepStore


@click.command("report")
@sweep_argument()
@output_options(
    FORMATS,
    "Write to a file. Markdown gets its figure as PNG and SVG files beside it.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the figure to this .png or .svg file.",
    callback=named_file,
)
@click.option(
    "--draw",
    "drawn",
    type=click.Choice(list(FIGURES)),
    help="The figure.  [default: scaling, or epochs with --nodes or of one node count]",
)
@click.option(
    "--nodes",
    type=int,
    metavar="N",
    help="Node count of the figure of epochs.  [default: the smallest]",
)
@click.option(
    "--rows",
    type=click.Choice(list(ROWS)),
    help="One row of CSV per cell, trial, or worker and epoch.  [default: cells]",
)
@click.option(
    "--json-schema", "is_schema", is_flag=True, help="Print the JSON Schema of --format json."
)
@click.option("--full", "is_full", is_flag=True, help="Show all tables and the figure.")
@settings_options("report")
@common_options()
@click.pass_obj
def command(
    printer: Printer,
    *,
    sweep: str | None,
    layout: str,
    output: Path | None,
    figure: Path | None,
    drawn: str | None,
    nodes: int | None,
    rows: str | None,
    is_schema: bool,
    is_full: bool,
    settings: dict[str, object],
    config_path: Path | None,
) -> None:
    """Show the verdict on a sweep, and its figures.

    SWEEP is the name of a sweep or the path of its directory; by default the newest. The report is
    made from the stored results alone. In the terminal it shows Table 2 and the overhead, with
    --full or --nodes everything; the other formats always have everything.
    """
    if is_schema:
        from dnnbench.report import schema  # a report does not need it

        printer.result(schema.as_json())
        return
    if rows and layout != "csv":
        raise ConfigError(f"needs --format csv, got {layout}", where="--rows")
    config = load(config_path, os.environ, settings).config
    store = open_sweep(Path(config.sweep.results_dir), sweep)
    outcomes = store.outcomes()
    analysis, notes = load_analysis(store, _target(config, store), outcomes=outcomes)
    for note in notes:
        printer.note(f"note: {note}")
    if nodes is not None and nodes not in analysis.nodes:
        raise ConfigError(
            f"the sweep has no trials with {nodes} nodes",
            where="--nodes",
            remedy=f"choose one of {', '.join(map(str, analysis.nodes))}",
        )
    if figure and output and os.path.realpath(figure) == os.path.realpath(output):
        raise ConfigError(f"names the same file as --output: {figure}", where="--figure")
    subject = Subject(analysis, outcomes, nodes)
    if layout == "markdown" and output and not is_standard_output(output):
        written = write_markdown(subject, output, name=drawn, figure=figure)
        printer.note(f"wrote {', '.join(map(str, written))}")
        return
    if figure:
        write_figure(subject, figure, drawn)
    is_full = is_full or nodes is not None
    wish = Wish(
        subject, printer.screen(output), figure, drawn, is_full=is_full, rows=rows or "cells"
    )
    deliver(printer, FORMATS[layout](wish), output)


def _target(config: Config, store: SweepStore) -> float | None:
    """Return the target accuracy, by default the one that the sweep was run with."""
    given = config.cost.target_accuracy
    return store.resolved.config.cost.target_accuracy if given is None else given
