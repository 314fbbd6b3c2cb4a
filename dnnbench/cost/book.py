"""The format of a price book: closed structs that accept only positive, exact amounts."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_CEILING, Decimal
from typing import Annotated

import msgspec

from dnnbench.errors import ConfigError

HOURS_PER_MONTH = 730  # 8760 / 12, as clouds count
CURRENCY = "USD"  # every amount of the program is named _usd
PositiveInt = Annotated[int, msgspec.Meta(gt=0)]
NonEmpty = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Priced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a price book; every decimal in it is finite and above zero."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not (value.is_finite() and value > 0):
                raise ValueError(f"`{name}` expected a number above 0, found {value}")


class Machine(Priced, frozen=True):
    """A machine type on demand.

    Attributes:
        gpu: the accelerators that the price includes; None if the type has none.
    """

    usd_per_hour: Decimal
    vcpus: PositiveInt | None = None
    ram_gb: Decimal | None = None
    gpu: str | None = None


class CustomMachine(Priced, frozen=True):
    """Prices of a custom machine type."""

    usd_per_vcpu_hour: Decimal
    usd_per_gb_hour: Decimal


class Gpu(Priced, frozen=True):
    """An accelerator added to a machine, in the unit that is priced (for a K80, a die)."""

    usd_per_hour: Decimal
    vram_gb: PositiveInt
    sustained_use: bool = False


class LocalSsd(Priced, frozen=True):
    """The one size in which a local SSD is sold."""

    size_gb: PositiveInt
    usd_per_gb_hour: Decimal


class PersistentDisk(Priced, frozen=True):
    """A network disk of any size."""

    usd_per_gb_month: Decimal


class Tier(Priced, frozen=True, array_like=True):
    """Hours up to ``share`` of a month cost ``factor`` of the price."""

    share: Decimal
    factor: Decimal


class SustainedUse(Priced, frozen=True):
    """A discount that depends on the hours used in a month; it is never a constant.

    Attributes:
        tiers: smallest share first; empty for no discount.
    """

    tiers: tuple[Tier, ...] = ()

    def __post_init__(self) -> None:
        shares = [tier.share for tier in self.tiers]
        if shares and (shares != sorted(set(shares)) or shares[-1] != 1):
            found = ", ".join(map(str, shares))
            raise ValueError(f"`tiers` expected shares that rise to 1.00, found {found}")

    def full_price_s(self, duration_s: Decimal, month_s: Decimal) -> Decimal:
        """Return the time at full price that costs as much as use from the start of a month."""
        months, rest_s = divmod(duration_s, month_s)
        return months * self._in_month_s(month_s, month_s) + self._in_month_s(rest_s, month_s)

    def _in_month_s(self, duration_s: Decimal, month_s: Decimal) -> Decimal:
        if not self.tiers:
            return duration_s
        total_s, start_s = Decimal(0), Decimal(0)
        for tier in self.tiers:
            end_s = tier.share * month_s
            total_s += max(min(duration_s, end_s) - start_s, Decimal(0)) * tier.factor
            start_s = end_s
        return total_s


class BillingRule(Priced, frozen=True):
    """A rule for the time that one machine is billed for.

    Attributes:
        until: last day of the rule; None if it is still in force.
    """

    granularity_s: PositiveInt
    minimum_s: Annotated[int, msgspec.Meta(ge=0)]
    until: dt.date | None = None

    def billed_s(self, duration_s: Decimal) -> Decimal:
        """Return the seconds billed for a machine that was up for ``duration_s``."""
        steps = (duration_s / self.granularity_s).to_integral_value(ROUND_CEILING)
        return max(steps * self.granularity_s, Decimal(self.minimum_s))


class PriceBook(Priced, frozen=True):
    """A dated list of prices.

    Attributes:
        name: the file's name without ``.toml``, unless the file sets another.
        assumptions: anything that no source confirms; shown wherever the book is used.
        machine: name -> machine type.
        gpu: name -> accelerator that can be added.
        billing: oldest rule first.
    """

    name: str
    provider: str
    as_of: dt.date
    currency: str
    regions: NonEmpty
    sources: NonEmpty
    machine: Annotated[dict[str, Machine], msgspec.Meta(min_length=1)]
    billing: Annotated[tuple[BillingRule, ...], msgspec.Meta(min_length=1)]
    hours_per_month: PositiveInt = HOURS_PER_MONTH
    assumptions: tuple[str, ...] = ()
    custom: CustomMachine | None = None
    gpu: dict[str, Gpu] = {}
    local_ssd: LocalSsd | None = None
    pd_standard: PersistentDisk | None = None
    sustained_use: SustainedUse = SustainedUse()

    def __post_init__(self) -> None:
        Priced.__post_init__(self)
        if self.currency != CURRENCY:
            raise ValueError(f"`currency` expected {CURRENCY!r}, found {self.currency!r}")

    def find_machine(self, name: str) -> Machine:
        """Return the machine type ``name``; the error for an unknown one suggests the nearest."""
        if name in self.machine:
            return self.machine[name]
        import difflib  # only this error needs it

        near = difflib.get_close_matches(name, self.machine, n=1, cutoff=0.0)
        raise ConfigError(
            f"no machine {name!r} in price book {self.name}",
            remedy=f"did you mean {near[0]}? The book has {', '.join(self.machine)}",
        )

    def billing_on(self, day: dt.date) -> BillingRule:
        """Return the rule in force on ``day``; the last one if all have ended."""
        in_force = (rule for rule in self.billing if rule.until is None or day <= rule.until)
        return next(in_force, self.billing[-1])
