"""Render costs for a terminal, as Markdown, and as JSON for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.cost.plan_tables import machines, plans
from dnnbench.cost.sweep import SweepCost
from dnnbench.cost.table1 import Table1
from dnnbench.cost.tables import bills, cells, cost_facts, price_books, published_prices, years
from dnnbench.text.safe import json_text
from dnnbench.text.tables import fields_markdown, fields_text, table_markdown, table_text

if TYPE_CHECKING:
    from dnnbench.text.screen import Screen
    from dnnbench.text.tables import Table

JSON_VERSION = 1


class CostDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the JSON document; amounts are strings, not rounded."""

    table_1: Table1
    sweep: SweepCost | None


def as_json(table_1: Table1, sweep: SweepCost | None) -> str:
    """Return one versioned JSON document, indented."""
    content = msgspec.to_builtins(CostDocument(table_1, sweep))
    document = {"dnnbench_cost": JSON_VERSION, **content}
    return json_text(document)


def render(table_1: Table1, sweep: SweepCost | None, screen: Screen) -> str:
    """Lay Table 1 and the cost of a sweep out for a terminal."""
    parts = [fields_text(cost_facts(sweep), screen)] if sweep else []
    parts += [table_text(table, screen) for table in cost_tables(table_1, sweep)]
    return "".join([*parts, "\n", fields_text(price_books(table_1, sweep), screen)])


def render_markdown(table_1: Table1, sweep: SweepCost | None) -> str:
    """Write Table 1 and the cost of a sweep as Markdown."""
    parts = ["# dnnbench cost"]
    if sweep:
        parts.append(fields_markdown(cost_facts(sweep)))
    parts += map(table_markdown, cost_tables(table_1, sweep))
    parts += ["## Prices", fields_markdown(price_books(table_1, sweep))]
    return "\n\n".join(parts) + "\n"


def cost_tables(table_1: Table1, sweep: SweepCost | None) -> list[Table]:
    """Return all tables, Table 1 first; the others need a sweep."""
    tables = [published_prices(table_1)]
    if sweep is None:
        return tables
    tables.append(cells(sweep))
    if sweep.accuracy is not None:
        tables.append(machines(sweep))
    if sweep.within_s is not None:
        tables.append(plans(sweep))
    if not sweep.not_priced:
        tables.append(bills(sweep))
    return [*tables, years(sweep)]
