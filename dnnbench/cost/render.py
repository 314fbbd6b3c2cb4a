"""Show costs: as rich renderables, as Markdown, as a document to be written as JSON.

A table is first laid out as a :class:`Sheet`, so that the terminal and Markdown say the same.
Amounts are rounded here, once: to the cent from 1 USD on, to three figures below.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dnnbench.cost.book import PriceBook
from dnnbench.cost.sweep import CellCost, SweepCost
from dnnbench.cost.table1 import CENT, Table1

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dnnbench.cost.basis import Basis

NOTHING = "-"


class CostDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything for JSON; amounts are strings there, not rounded."""

    table_1: Table1
    sweep: SweepCost | None


class Sheet(NamedTuple):
    """A table ready to be shown.

    Attributes:
        words: how many columns from the left hold words; the last may, too (``words_last``).
    """

    title: str
    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]
    words: int = 1
    words_last: bool = False

    def is_number(self, column: int) -> bool:
        """Tell whether a column is to be aligned on the right."""
        last = self.words_last and column == len(self.headers) - 1
        return column >= self.words and not last


def render_table_1(table: Table1) -> RenderableType:
    """Lay Table 1 out for the terminal."""
    return _rich([_table_1_sheet(table)])


def render_sweep(cost: SweepCost) -> RenderableType:
    """Lay the cost of a sweep out for the terminal."""
    return _rich(_sweep_sheets(cost))


def render_table_1_markdown(table: Table1) -> str:
    """Write Table 1 as Markdown."""
    return _markdown([_table_1_sheet(table)])


def render_sweep_markdown(cost: SweepCost) -> str:
    """Write the cost of a sweep as Markdown."""
    return _markdown(_sweep_sheets(cost))


def usd(amount: Decimal | None) -> str:
    """Write an amount; a dash where there is none."""
    if amount is None:
        return NOTHING
    places = CENT if amount >= 1 or amount == 0 else Decimal(1).scaleb(amount.adjusted() - 2)
    return f"{amount.quantize(places, ROUND_HALF_UP):,f}"


def _table_1_sheet(table: Table1) -> Sheet:
    book = table.book
    headers = ("machine / count", "vCPUs", "RAM GB", "K80 GPUs", "USD/year published")
    return Sheet(
        title="Table 1: a year on Google Cloud, published and recomputed",
        headers=(*headers, "USD/year recomputed", "difference", "what explains the print"),
        rows=[
            (
                row.label,
                str(row.vcpus),
                str(row.ram_gb),
                str(row.gpus),
                f"{row.published_usd:,.2f}",
                f"{row.recomputed_usd:,.2f}",
                f"{row.difference_usd:+,.2f}" if row.difference_usd else "0.00",
                row.why,
            )
            for row in table.rows
        ],
        notes=[
            f"Published: {table.source}.",
            f"Recomputed from {_book_text(book)}",
            "Included: machines, GPUs, one local SSD a machine, sustained use of whole months.",
            "Not included: persistent disks, network, load balancing, as in the report.",
            "Machines with GPUs are priced as custom machine types.",
            "A year on end: never to be pro-rated to a short use.",
            *_origin_notes(book),
        ],
        words_last=True,
    )


def _sweep_sheets(cost: SweepCost) -> list[Sheet]:
    return [_cell_sheet(cost), _bill_sheet(cost), _year_sheet(cost)]


def _cell_sheet(cost: SweepCost) -> Sheet:
    accuracy = next((cell.target.accuracy for cell in cost.cells if cell.target), None)
    headers = ("nodes", "protocol", "trials", "s/epoch", "USD/epoch", "USD/trial", "USD all trials")
    target = () if accuracy is None else (f"USD to {accuracy:.2%}", "reached")
    notes = [
        f"USD: time x nodes x {cost.basis.rate.usd_per_hour:.6f} per node and hour, no minimum.",
        "A trial's time includes start-up, warm-up and evaluation; an epoch's does not.",
    ]
    if cost.unfinished:
        notes.append(
            f"{cost.unfinished} of {cost.finished + cost.unfinished} trials did not finish: in "
            "USD all trials and in the bills, not in the means per epoch and trial."
        )
    if accuracy is not None:
        notes.append(
            f"USD to {accuracy:.2%} test accuracy (DAWNBench's cost to accuracy): training time to "
            "the first epoch at or above it, mean over the trials that reached it. A trial that "
            "did not has no such cost, which is not zero."
        )
    return Sheet(
        title="Cost of the sweep by node count and protocol",
        headers=headers + target,
        rows=[_cell_row(cell) for cell in cost.cells],
        notes=notes,
        words=2,
    )


def _cell_row(cell: CellCost) -> tuple[str, ...]:
    failed = f" + {cell.unfinished} unfinished" if cell.unfinished else ""
    row = (
        str(cell.nodes),
        cell.protocol,
        f"{cell.finished}{failed}",
        NOTHING if cell.epoch_s is None else f"{cell.epoch_s:.3f}",
        usd(cell.usd_per_epoch),
        usd(cell.usd_per_trial),
        usd(cell.list_usd),
    )
    if cell.target is None:
        return row
    return (*row, usd(cell.target.usd), f"{cell.target.reached}/{cell.target.trials}")


def _bill_sheet(cost: SweepCost) -> Sheet:
    basis, rule = cost.basis, cost.basis.billing
    minimum = f"at least {rule.minimum_s} s" if rule.minimum_s else "no minimum"
    kept = f"{cost.kept_machines} machines kept for the whole sweep ({cost.kept_s:,.0f} s)"
    return Sheet(
        title="Bill of the whole sweep",
        headers=("how", "USD"),
        rows=[
            ("node-time of the trials at the list price", usd(cost.list_usd)),
            (kept, usd(cost.kept_usd)),
            ("new machines for every trial", usd(cost.new_machines_usd)),
        ],
        notes=[
            f"Billed by {rule.granularity_s} s a machine, {minimum}.",
            "Time between the trials and to set machines up is not included.",
            *_basis_notes(basis),
        ],
    )


def _year_sheet(cost: SweepCost) -> Sheet:
    basis = cost.basis
    discount = "with sustained use" if basis.sustained_use.tiers else "no discount"
    return Sheet(
        title="The same machines for a year",
        headers=("nodes", "USD/year"),
        rows=[(str(nodes), usd(amount)) for nodes, amount in cost.year_usd.items()],
        notes=[
            f"{basis.hours_per_year:,} h on end, {discount}.",
            "Never to be pro-rated: a short use is billed as above.",
        ],
    )


def _basis_notes(basis: Basis) -> list[str]:
    """Say where the prices come from, what they are, and what they leave out."""
    if basis.book is None:
        price = f"{basis.machine_usd_per_hour} {basis.currency} per node and hour"
        return [f"Prices: own hardware at {price}, nothing added to it, no discount."]
    included = [f"{basis.machine} at {basis.machine_usd_per_hour} {basis.currency}/h"]
    left_out = ["local SSD", "network", "tax"]
    if basis.gpu:
        included.append(f"its GPU ({basis.gpu}) in that price")
    else:
        left_out.insert(0, "GPU (the machine has none)")
    if basis.disk_gb:
        disk = f"a {basis.disk_gb} GB persistent disk at {basis.disk_usd_per_hour:.6f}"
        included.append(f"{disk} {basis.currency}/h")
    else:
        left_out.insert(0, "persistent disk")
    tiers = basis.sustained_use.tiers
    notes = [
        f"Prices from {_book_text(basis)}",
        f"Included for each machine: {'; '.join(included)}. Not included: {', '.join(left_out)}.",
    ]
    if tiers:
        full_h = tiers[0].share * basis.hours_per_month
        notes.append(
            f"Sustained use: no discount for the first {full_h.normalize():f} h of a month."
        )
    return notes + _origin_notes(basis)


def _origin_notes(source: PriceBook | Basis) -> list[str]:
    sources = f"Sources: {'; '.join(source.sources)}."
    return [sources, *(f"Assumed: {text}." for text in source.assumptions)]


def _book_text(source: PriceBook | Basis) -> str:
    name = source.name if isinstance(source, PriceBook) else source.book
    regions = ", ".join(source.regions)
    return f"price book {name}, as of {source.as_of}, {source.currency}, {regions}."


def _rich(sheets: Sequence[Sheet]) -> RenderableType:
    from rich.console import Group  # only where a terminal is
    from rich.table import Table  # as above
    from rich.text import Text  # as above

    parts: list[RenderableType] = []
    for sheet in sheets:
        table = Table()
        for column, header in enumerate(sheet.headers):
            table.add_column(header, justify="right" if sheet.is_number(column) else "left")
        for row in sheet.rows:
            table.add_row(*(Text(cell) for cell in row))
        parts += [Text(sheet.title, style="bold"), table]
        parts += [*(Text(note, style="dim") for note in sheet.notes), Text()]
    return Group(*parts[:-1])


def _markdown(sheets: Sequence[Sheet]) -> str:
    from tabulate import tabulate  # only for Markdown

    parts = []
    for sheet in sheets:
        columns = range(len(sheet.headers))
        table = tabulate(
            [[cell.replace("|", "\\|") for cell in row] for row in sheet.rows],
            headers=sheet.headers,
            tablefmt="pipe",
            disable_numparse=True,
            colalign=["right" if sheet.is_number(column) else "left" for column in columns],
        )
        notes = "\n".join(f"- {note}" for note in sheet.notes)
        parts.append(f"### {sheet.title}\n\n{table}\n\n{notes}\n")
    return "\n".join(parts)
