"""Table 1 to the cent: expected figures were worked out by hand from the price list."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from dnnbench.analysis import published
from dnnbench.cost import table_1
from dnnbench.cost.library import load_table_1_book
from dnnbench.cost.table1 import compare_rows, yearly_usd

EXPECTED = [
    ("1272.17", "5088.68", "priced for one machine, not 4"),
    ("12244.24", "13244.24", "one digit wrong, 1,000.00 low"),
    ("27156.53", "27156.53", "exact"),
    ("4598.06", "5578.96", "local SSD left out; VRAM is 12 GB, not 24"),
    ("20595.77", "20595.77", "exact; VRAM is 48 GB, not 96"),
    ("41410.21", "41410.21", "exact; VRAM is 96 GB, not 192"),
]


@pytest.mark.parametrize(("row", "expected"), list(enumerate(EXPECTED)))
def test_each_row_is_recomputed_to_the_cent_and_its_print_explained(
    row: int, expected: tuple[str, str, str]
) -> None:
    published, recomputed, why = expected
    result = table_1().rows[row]
    assert str(result.published_usd) == published
    assert str(result.recomputed_usd) == recomputed
    assert result.difference_usd == Decimal(recomputed) - Decimal(published)
    assert result.why.startswith(why)


@pytest.mark.parametrize(("row", "usd"), [(3, "6437.66"), (4, "27954.17"), (5, "56127.01")])
def test_without_sustained_use_on_gpus_the_last_rows_would_read_otherwise(
    row: int, usd: str
) -> None:
    local_ssd = row != 3  # the print of that row leaves it out
    book = load_table_1_book()
    gpu = msgspec.structs.replace(book.gpu["k80"], sustained_use=False)
    book = msgspec.structs.replace(book, gpu={"k80": gpu})
    assert str(yearly_usd(book, published.TABLE_1[row], machines=1, local_ssd=local_ssd)) == usd


def test_a_print_that_no_known_slip_gives_is_not_explained() -> None:
    book = load_table_1_book()
    row = published.TABLE_1[2]._replace(usd_per_year=Decimal("20000.00"))
    assert compare_rows(book, [row])[0].why == "not explained"


def test_the_published_totals_are_those_of_the_machines_in_the_book() -> None:
    book = load_table_1_book()
    for row in published.TABLE_1:
        machine = book.machine[row.machine]
        assert machine.vcpus is not None
        assert machine.ram_gb is not None
        assert row.vcpus == row.machines * machine.vcpus
        assert row.ram_gb == row.machines * machine.ram_gb
