"""Kinds of rows, their columns, and CSV."""

from __future__ import annotations

import csv
import io
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dnnbench.text.safe import csv_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dnnbench.report.figures.picture import Subject
    from dnnbench.trial.variation import Value

ROWS: Final = {
    "cells": "dnnbench.report.rows.cells",
    "trials": "dnnbench.report.rows.trials",
    "epochs": "dnnbench.report.rows.epochs",
}
"""Name of a kind -> module whose ``TABLE`` it is; only that one is imported."""


class Field(NamedTuple):
    """A column.

    Attributes:
        name: ends with the unit.
        unit: in words; "" for a text or a count.
        meaning: in one line, for the documentation.
        value: of an item; None where there is no figure.
    """

    name: str
    unit: str
    meaning: str
    value: Callable[[Any], object]


OF_ORDER: Final = [
    Field("sweep", "", "name of the sweep", lambda i: i.outcome.order.sweep),
    Field("trial", "", "name of the trial", lambda i: i.outcome.order.id),
    Field("protocol", "", "protocol", lambda i: i.outcome.order.protocol.name),
    Field("nodes", "", "parameter servers and workers", lambda i: i.outcome.order.nodes),
    Field("repeat", "", "number of the repeat, from 1", lambda i: i.outcome.order.repeat),
    Field(
        "pace_ms",
        "ms",
        "shortest step of a paced trial; empty without pace",
        lambda i: i.outcome.order.pace_ms or None,
    ),
]
"""The first columns of kinds whose items have an ``outcome``."""


class RowTable(NamedTuple):
    """A kind of row.

    Attributes:
        items: of a report, one per row; what the columns' values are taken from.
        fields: the columns; those of the settings that vary come after the first `keys` ones.
        keys: number of columns that name a cell.
        variation: of an item: the settings that vary.
    """

    items: Callable[[Subject], Iterable[Any]]
    fields: list[Field]
    keys: int
    variation: Callable[[Any], Mapping[str, Value]]


def row_table(name: str) -> RowTable:
    """Return a kind of row by its name in `ROWS`."""
    table: RowTable = import_module(ROWS[name]).TABLE
    return table


def as_csv(subject: Subject, name: str = "cells") -> str:
    """Return the rows of a kind; a field without a figure is empty."""
    table = row_table(name)
    varied = subject.analysis.varied
    names = [field.name for field in table.fields]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names[: table.keys], *varied, *names[table.keys :]])
    for item in table.items(subject):
        values = [csv_field(field.value(item)) for field in table.fields]
        of_cell = table.variation(item)
        settings = [csv_field(of_cell.get(setting)) for setting in varied]
        writer.writerow([*values[: table.keys], *settings, *values[table.keys :]])
    return text.getvalue()


def columns_markdown(name: str) -> str:
    """Return the documentation of a kind's columns as a Markdown table."""
    rows = [f"| `{f.name}` | {f.unit} | {f.meaning} |" for f in row_table(name).fields]
    return "\n".join(["| column | unit | meaning |", "|---|---|---|", *rows])
