"""SkyPilot's catalogs as price books: ``<cloud>/vms.csv``, with columns in any order.

A row is a machine type in a region or an availability zone. A type is priced where it is cheapest,
unless one region is chosen. Rows without a machine type are accelerators that Google sells beside
its machines; they are left out, and the book says so.

Source: https://github.com/skypilot-org/skypilot-catalog
"""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from dnnbench.cost.book import CURRENCY, BillingRule, Machine, PriceBook, refusal_of, shown
from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.textfile import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX: Final = ".csv"
MOST_ROWS: Final = 200_000
_NEEDED: Final = ("InstanceType", "vCPUs", "Price", "Region")
_KNOWN: Final = (*_NEEDED, "MemoryGiB", "AcceleratorName", "AcceleratorCount", "SpotPrice")
_BILLING: Final = BillingRule(granularity_s=1, minimum_s=60)
_NAME_MOST: Final = 200  # characters of a name; more is not one


class _Row:
    """One line of the file; its errors name file, line and column."""

    def __init__(self, where: str, values: dict[str, str]) -> None:
        self.where = where
        self._values = values

    def text(self, column: str) -> str:
        """Return a value; empty if the file lacks the column."""
        value = self._values.get(column, "").strip()
        if len(value) > _NAME_MOST or not value.isprintable():
            problem = f"expected at most {_NAME_MOST} printable characters, found {value[:40]!r}"
            raise ConfigError(problem, where=f"{self.where}: {column}")
        return value

    def number(self, column: str) -> Decimal | None:
        """Return a number above zero; None if there is none."""
        return self._positive(column) if self.text(column) else None

    def price(self, column: str) -> Decimal:
        """Return a price, which must not be missing."""
        return self._positive(column, remedy="correct or remove the line")

    def _positive(self, column: str, remedy: str | None = None) -> Decimal:
        text = self.text(column)
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("nan")
        if expected := refusal_of(value):
            found = shown(value) if value.is_finite() else repr(text)
            place = f"{self.where}: {column}"
            raise ConfigError(f"{expected}, found {found}", where=place, remedy=remedy)
        return value


def read_catalog(path: Path, region: str | None = None) -> PriceBook:
    """Read a catalog as a price book.

    Args:
        path: of the file.
        region: of the prices; by default each type is priced in its cheapest region.

    Raises:
        ConfigError: the file cannot be read, is no catalog, does not have the region, or has a
            price that is zero, negative, missing or no number.
    """
    cheapest: dict[str, Machine] = {}
    regions: dict[str, None] = {}
    accelerators = 0
    for row in _rows(path):
        name, here = row.text("InstanceType"), row.text("Region")
        if not name:
            accelerators += 1
            continue
        regions[here] = None
        if region is not None and here != region:
            continue
        machine = _machine(row, here)
        if name not in cheapest or machine.usd_per_hour < cheapest[name].usd_per_hour:
            cheapest[name] = machine
    if not regions:
        raise ConfigError("expected machine types, found none", where=str(path))
    if region is not None and region not in regions:
        raise ConfigError(
            f"has no prices of region {region!r}",
            where=str(path),
            remedy=nearest(region, regions) or f"it has {', '.join(list(regions)[:12])}",
        )
    assumptions = [
        "date: when the file was last changed, as the catalog has none",
        "billing by the second, for a minute at least: not in the catalog",
    ]
    if region is None and len(regions) > 1:
        assumptions.append("each machine type in its cheapest region")
    if accelerators:
        assumptions.append(f"{accelerators} rows of accelerators without a machine are left out")
    return PriceBook(
        name=path.name,
        provider=path.resolve().parent.name,
        as_of=_changed(path),
        currency=CURRENCY,
        regions=(region,) if region else tuple(regions),
        sources=(f"SkyPilot catalog {path.name}",),
        machine=cheapest,
        billing=(_BILLING,),
        assumptions=tuple(assumptions),
    )


def _machine(row: _Row, region: str) -> Machine:
    vcpus, count = row.number("vCPUs"), row.number("AcceleratorCount")
    kind = row.text("AcceleratorName")
    return Machine(
        usd_per_hour=row.price("Price"),
        vcpus=None if vcpus is None else float(vcpus),
        ram_gb=row.number("MemoryGiB"),
        gpu=f"{float(count or 1):g} {kind}" if kind else None,
        spot_usd_per_hour=row.number("SpotPrice"),
        region=region,
    )


def _rows(path: Path) -> Iterator[_Row]:
    reader = csv.reader(read_text(path).splitlines(), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if missing := [name for name in _NEEDED if name not in names]:
            raise ConfigError(
                f"expected a SkyPilot catalog with columns {', '.join(_NEEDED)}, "
                f"found none named {missing[0]}",
                where=f"{path}:1",
            )
        if twice := [name for name in _KNOWN if names.count(name) > 1]:
            raise ConfigError(f"has two columns {twice[0]}", where=f"{path}:1")
        for count, values in enumerate(reader, start=1):
            where = f"{path}:{reader.line_num}"
            if count > MOST_ROWS:
                raise ConfigError(f"expected at most {MOST_ROWS:,} rows, found more", where=where)
            if not values:
                continue
            if len(values) != len(names):
                problem = f"expected {len(names)} columns as in line 1, found {len(values)}"
                raise ConfigError(problem, where=where)
            yield _Row(where, dict(zip(names, values, strict=True)))
    except csv.Error as error:
        raise ConfigError(f"is not CSV: {error}", where=f"{path}:{reader.line_num}") from None


def _changed(path: Path) -> dt.date:
    return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.timezone.utc).date()
