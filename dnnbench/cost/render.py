"""Show costs: as rich renderables, as Markdown, as a document for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.cost.sweep import SweepCost
from dnnbench.cost.table1 import Table1
from dnnbench.cost.tables import cost_facts, cost_tables, price_books
from dnnbench.tables import facts_markdown, facts_view, table_markdown, table_view

if TYPE_CHECKING:
    from rich.console import RenderableType

JSON_VERSION = 1


class CostDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything for JSON; amounts are strings there, not rounded."""

    table_1: Table1
    sweep: SweepCost | None


def as_json(table_1: Table1, sweep: SweepCost | None) -> str:
    """Return one versioned JSON document, indented."""
    content = msgspec.to_builtins(CostDocument(table_1, sweep))
    document = {"dnnbench_cost": JSON_VERSION, **content}
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"


def render(table_1: Table1, sweep: SweepCost | None) -> RenderableType:
    """Lay Table 1 and the cost of a sweep out for the terminal."""
    from rich.console import Group  # the other formats do without

    parts = [
        *map(table_view, cost_tables(table_1, sweep)),
        "",
        facts_view(price_books(table_1, sweep)),
    ]
    return Group(facts_view(cost_facts(sweep)), *parts) if sweep else Group(*parts)


def render_markdown(table_1: Table1, sweep: SweepCost | None) -> str:
    """Write Table 1 and the cost of a sweep as Markdown."""
    parts = ["# dnnbench cost"]
    if sweep:
        parts.append(facts_markdown(cost_facts(sweep)))
    parts += map(table_markdown, cost_tables(table_1, sweep))
    parts += ["## Prices", facts_markdown(price_books(table_1, sweep))]
    return "\n\n".join(parts) + "\n"
