"""Costs as CSV: one table, of the most specific kind that was asked for.

Plans if there are any to rank, else the cost to the accuracy of every cell on every machine type,
else that of every cell; without a sweep, Table 1. Amounts are not rounded.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final, get_args

import msgspec

from dnnbench.cost.accuracy import MachineCost, Spread, TargetCost
from dnnbench.cost.sweep import CellCost
from dnnbench.cost.table1 import Table1Row
from dnnbench.text.safe import csv_field
from dnnbench.trial.variation import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.cost.sweep import SweepCost
    from dnnbench.cost.table1 import Table1

_PARTS: Final = Spread.__struct_fields__


def as_csv(table_1: Table1, sweep: SweepCost | None) -> str:
    """Return the rows with a header; a spread has a column for median, low and high each."""
    kind: type[msgspec.Struct] = Table1Row
    rows: Sequence[msgspec.Struct] = table_1.rows
    common: dict[str, object] = {}
    if sweep is not None:
        common = {"sweep": sweep.sweep, "data": sweep.data, "price_book": sweep.basis.book}
        kind, rows = CellCost, sweep.cells
        if sweep.accuracy is not None:
            common["accuracy"] = sweep.accuracy
            kind, rows = MachineCost, sweep.machines
        if sweep.within_s is not None:
            common["within_s"] = sweep.within_s
            rows = sweep.plans
    columns = _columns(kind)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*common, *columns])
    for row in rows:
        values = [*common.values(), *(_value(row, path) for path in columns.values())]
        writer.writerow(map(csv_field, values))
    return out.getvalue()


def _columns(kind: type[msgspec.Struct]) -> dict[str, tuple[str, ...]]:
    """Return the name of each column and the path to its value."""
    found: dict[str, tuple[str, ...]] = {}
    for field in msgspec.structs.fields(kind):
        parts = {field.type, *get_args(field.type)}
        if Spread in parts:
            found |= {f"{field.name}_{part}": (field.name, part) for part in _PARTS}
        elif TargetCost not in parts:  # only with an accuracy, which has rows of its own
            found[field.name] = (field.name,)
    return found


def _value(row: object, path: tuple[str, ...]) -> object:
    for name in path:
        row = None if row is None else getattr(row, name)
    if isinstance(row, dict):
        return in_words(row.items())
    return " ".join(map(str, row)) if isinstance(row, tuple) else row
