"""Prices per hour and the cost of hours: exact decimals, never rounded here."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dnnbench.cost.book import refusal_of
from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from dnnbench.cost.book import PriceBook, SustainedUse

SECONDS_PER_HOUR = 3600
MONTHS_PER_YEAR = 12

T = TypeVar("T")


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per hour of one machine with its disks and accelerators.

    Attributes:
        discountable_usd: the part that a sustained-use discount applies to.
        flat_usd: the part that it does not apply to, such as disks.
    """

    discountable_usd: Decimal = Decimal(0)
    flat_usd: Decimal = Decimal(0)

    @property
    def usd_per_hour(self) -> Decimal:
        """List price of an hour."""
        return self.discountable_usd + self.flat_usd

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.discountable_usd + other.discountable_usd, self.flat_usd + other.flat_usd)

    def __mul__(self, machines: int) -> Rate:
        return Rate(self.discountable_usd * machines, self.flat_usd * machines)


def machine_rate(book: PriceBook, name: str) -> Rate:
    """Return the rate of a machine type on demand."""
    price = book.find_machine(name).usd_per_hour
    return Rate(flat_usd=price) if name in book.own else Rate(discountable_usd=price)


def spot_rate(book: PriceBook, name: str) -> Rate | None:
    """Return the rate of a machine type that the cloud may take back; None if it has no price."""
    machine = book.machine.get(name)
    if machine is None or machine.spot_usd_per_hour is None:
        return None
    return Rate(flat_usd=machine.spot_usd_per_hour)  # no discount on top of that price


def custom_rate(book: PriceBook, vcpus: int, ram_gb: Decimal) -> Rate:
    """Return the rate of a custom machine type."""
    custom = _priced(book, "custom", book.custom)
    return Rate(discountable_usd=vcpus * custom.usd_per_vcpu_hour + ram_gb * custom.usd_per_gb_hour)


def gpu_rate(book: PriceBook, name: str, count: int) -> Rate:
    """Return the rate of ``count`` accelerators added to a machine."""
    gpu = _priced(book, f"gpu.{name}", book.gpu.get(name))
    usd = count * gpu.usd_per_hour
    return Rate(discountable_usd=usd) if gpu.sustained_use else Rate(flat_usd=usd)


def local_ssd_rate(book: PriceBook) -> Rate:
    """Return the rate of one local SSD."""
    ssd = _priced(book, "local_ssd", book.local_ssd)
    return Rate(flat_usd=ssd.size_gb * ssd.usd_per_gb_hour)


def disk_rate(book: PriceBook, size_gb: int) -> Rate:
    """Return the rate of a persistent disk."""
    disk = _priced(book, "pd_standard", book.pd_standard)
    return Rate(flat_usd=size_gb * disk.usd_per_gb_month / book.hours_per_month)


def cost_usd(
    rate: Rate, duration_s: Decimal, sustained_use: SustainedUse, hours_per_month: int
) -> Decimal:
    """Return the cost of one machine that is up for ``duration_s`` without a break.

    The discount follows from the time used in each month, so short use gets none.
    """
    month_s = Decimal(hours_per_month * SECONDS_PER_HOUR)
    full_price_s = sustained_use.full_price_s(duration_s, month_s)
    # Divide last: the sum is exact.
    return (full_price_s * rate.discountable_usd + duration_s * rate.flat_usd) / SECONDS_PER_HOUR


def parse_price(value: str | float | Decimal, where: str) -> Decimal:
    """Return an amount above zero, as far as a price book may have it.

    Raises:
        ConfigError: any other value; the error names ``where`` it came from.
    """
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        price = Decimal("nan")
    if expected := refusal_of(price):
        raise ConfigError(f"{expected}, found {str(value)[:40]!r}", where=where)
    return price


def _priced(book: PriceBook, key: str, part: T | None) -> T:
    if part is None:
        raise ConfigError("expected this price, found none", where=f"price book {book.name}: {key}")
    return part
