"""Table 1: the published yearly prices beside the same rows recomputed from their price book.

docs/cost.md explains the published table: sustained use of a full month on machines and GPUs, one
local SSD of 375 GB per machine without discount, machines with GPUs priced as custom types.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis import published
from dnnbench.cost.book import PriceBook
from dnnbench.cost.library import load_table_1_book
from dnnbench.cost.pricing import (
    MONTHS_PER_YEAR,
    SECONDS_PER_HOUR,
    Rate,
    cost_usd,
    custom_rate,
    gpu_rate,
    local_ssd_rate,
    machine_rate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

GPU = "k80"
CENT = Decimal("0.01")


class Table1Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published row beside the recomputed one.

    Attributes:
        vram_gb: GPU memory as labeled: dies x their memory.
        recomputed_usd: price of a year of the machines in the label, rounded to the cent.
        difference_usd: recomputed - published.
        why: explanation of the published figure.
    """

    label: str
    machines: int
    vcpus: int
    ram_gb: Decimal
    gpus: int
    published_vram_gb: int
    vram_gb: int
    published_usd: Decimal
    recomputed_usd: Decimal
    difference_usd: Decimal
    why: str


class Table1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table with the price book that it was recomputed from."""

    book: PriceBook
    rows: tuple[Table1Row, ...]
    source: str = published.SOURCE


def table_1() -> Table1:
    """Recompute Table 1."""
    book = load_table_1_book()
    return Table1(book=book, rows=compare_rows(book, published.TABLE_1))


def compare_rows(book: PriceBook, rows: Iterable[published.Table1Row]) -> tuple[Table1Row, ...]:
    """Recompute published rows and explain each."""
    return tuple(_compare(book, row) for row in rows)


def yearly_usd(
    book: PriceBook, row: published.Table1Row, *, machines: int, local_ssd: bool = True
) -> Decimal:
    """Return the price of a year of ``machines`` like those of ``row``, rounded to the cent."""
    if row.gpus:
        rate = custom_rate(book, row.vcpus, row.ram_gb) + gpu_rate(book, GPU, row.gpus)
    else:
        rate = machine_rate(book, row.machine)
    rate += local_ssd_rate(book) if local_ssd else Rate()
    year_s = Decimal(MONTHS_PER_YEAR * book.hours_per_month * SECONDS_PER_HOUR)
    year_usd = machines * cost_usd(rate, year_s, book.sustained_use, book.hours_per_month)
    return year_usd.quantize(CENT, ROUND_HALF_UP)


def _compare(book: PriceBook, row: published.Table1Row) -> Table1Row:
    recomputed = yearly_usd(book, row, machines=row.machines)
    vram_gb = row.gpus * book.gpu[GPU].vram_gb
    why = _explain(book, row, recomputed)
    if vram_gb != row.vram_gb:
        why += f"; VRAM is {vram_gb} GB, not {row.vram_gb}: priced by the die, counted by the board"
    return Table1Row(
        label=row.label,
        machines=row.machines,
        vcpus=row.vcpus,
        ram_gb=row.ram_gb,
        gpus=row.gpus,
        published_vram_gb=row.vram_gb,
        vram_gb=vram_gb,
        published_usd=row.usd_per_year,
        recomputed_usd=recomputed,
        difference_usd=recomputed - row.usd_per_year,
        why=why,
    )


def _explain(book: PriceBook, row: published.Table1Row, recomputed: Decimal) -> str:
    """Return the first slip under which the formula gives the published figure."""
    published = row.usd_per_year
    if published == recomputed:
        return "exact"
    if published == yearly_usd(book, row, machines=1):
        return f"priced for one machine, not {row.machines}"
    if published == yearly_usd(book, row, machines=row.machines, local_ssd=False):
        return "local SSD left out"
    if _digits_apart(published, recomputed) == 1:
        side = "low" if published < recomputed else "high"
        return f"one digit wrong, {abs(recomputed - published):,.2f} {side}"
    return "not explained"


def _digits_apart(first: Decimal, second: Decimal) -> int | None:
    a, b = str(first), str(second)
    return sum(x != y for x, y in zip(a, b, strict=True)) if len(a) == len(b) else None
