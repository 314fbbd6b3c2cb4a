"""The format of a price book: closed structs that accept only positive, exact amounts."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_CEILING, Decimal
from typing import Annotated

import msgspec

from dnnbench.errors import ConfigError, nearest

HOURS_PER_MONTH = 730  # 8760 / 12, as clouds count
HOURS_PER_YEAR = 12 * HOURS_PER_MONTH
CURRENCY = "USD"  # every amount of the program is named _usd
LARGEST = Decimal(1_000_000)
"""Largest number of a price book. Sums of a thousand nodes and many years stay exact below it."""
SMALLEST = Decimal("0.000000001")
MOST_DIGITS = 30
REPORTS_MACHINE = "n1-standard-4"
MOST_SHOWN = 12  # names of machine types in an error
DEFAULT_VCPUS = 4  # of the report's machine
PositiveInt = Annotated[int, msgspec.Meta(gt=0, le=int(LARGEST))]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0, le=int(LARGEST))]
NonEmpty = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


def refusal_of(value: Decimal) -> str | None:
    """Return what was expected in place of a number that no price book may have; None if it may."""
    if not (value.is_finite() and value > 0):
        return "expected a number above 0"
    if not SMALLEST <= value <= LARGEST:
        return f"expected a number from {SMALLEST:f} to {LARGEST:,}"
    if len(value.as_tuple().digits) > MOST_DIGITS:
        return f"expected at most {MOST_DIGITS} digits"
    return None


class Priced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a price book; every decimal in it is above zero, and neither vast nor tiny."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and (expected := refusal_of(value)):
                raise ValueError(f"`{name}` {expected}, found {shown(value)}")


class Machine(Priced, frozen=True):
    """A machine type.

    Attributes:
        usd_per_hour: on demand.
        vcpus: a whole number, however it is written; shared-core types have a fraction of one.
        gpu: the accelerators that the price includes; None if the type has none.
        spot_usd_per_hour: as long as the cloud does not take it back; None if it is not known.
        region: with this price, if the book has several.
    """

    usd_per_hour: Decimal
    vcpus: PositiveInt | PositiveFloat | None = None
    ram_gb: Decimal | None = None
    gpu: str | None = None
    spot_usd_per_hour: Decimal | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        Priced.__post_init__(self)
        if isinstance(self.vcpus, float) and self.vcpus.is_integer():
            msgspec.structs.force_setattr(self, "vcpus", int(self.vcpus))


class OwnMachine(Priced, frozen=True):
    """A machine of the user's own: its price spread over the hours of its use, and electricity.

    Attributes:
        usd: to buy it.
        years: over which it is used.
        hours_per_year: in which it does such work; by default all of them.
        watts: while it works.
        usd_per_kwh: tariff.
    """

    usd: Decimal
    years: Decimal
    watts: Decimal
    usd_per_kwh: Decimal
    hours_per_year: Annotated[int, msgspec.Meta(gt=0, le=HOURS_PER_YEAR)] = HOURS_PER_YEAR
    vcpus: PositiveInt | None = None

    @property
    def usd_per_hour(self) -> Decimal:
        """Price of an hour of use."""
        return self.usd / (self.years * self.hours_per_year) + self.watts * self.usd_per_kwh / 1000


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
    minimum_s: Annotated[int, msgspec.Meta(ge=0, le=int(LARGEST))]
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
        own: name -> machine of the user's own.
        gpu: name -> accelerator that can be added.
        billing: oldest rule first.
    """

    name: str
    provider: str
    as_of: dt.date
    currency: str
    regions: NonEmpty
    sources: NonEmpty
    machine: dict[str, Machine] = {}
    billing: tuple[BillingRule, ...] = ()
    hours_per_month: Annotated[int, msgspec.Meta(gt=0, le=31 * 24)] = HOURS_PER_MONTH
    assumptions: tuple[str, ...] = ()
    custom: CustomMachine | None = None
    gpu: dict[str, Gpu] = {}
    local_ssd: LocalSsd | None = None
    pd_standard: PersistentDisk | None = None
    sustained_use: SustainedUse = SustainedUse()
    own: dict[str, OwnMachine] = {}

    def __post_init__(self) -> None:
        Priced.__post_init__(self)
        if self.currency != CURRENCY:
            raise ValueError(f"`currency` expected {CURRENCY!r}, found {self.currency!r}")
        if not (self.machine or self.own):
            raise ValueError("`machine` expected a table of length >= 1, or a table `own`")
        if self.machine and not self.billing:
            raise ValueError("`billing` expected a rule at least, found none")
        if twice := self.machine.keys() & self.own.keys():
            raise ValueError(f"`own` expected other names than `machine` has, found {min(twice)}")

    @property
    def machines(self) -> dict[str, Machine | OwnMachine]:
        """Every machine type by its name, the user's own last."""
        return {**self.machine, **self.own}

    @property
    def default_machine(self) -> str:
        """The report's machine type, or else the cheapest with as many vCPUs and no GPU."""
        if REPORTS_MACHINE in self.machine:
            return REPORTS_MACHINE

        def rank(name: str) -> tuple[bool, bool, Decimal]:
            machine = self.machines[name]
            has_gpu = isinstance(machine, Machine) and machine.gpu is not None
            return has_gpu, (machine.vcpus or 0) < DEFAULT_VCPUS, machine.usd_per_hour

        return min(self.machines, key=rank)

    def find_machine(self, name: str) -> Machine | OwnMachine:
        """Return the machine type ``name``; the error for an unknown one suggests a similar one."""
        machines = self.machines
        if name in machines:
            return machines[name]
        shown = ", ".join([*list(machines)[:MOST_SHOWN], *(["..."] * (len(machines) > MOST_SHOWN))])
        near = nearest(name, machines)
        has = f"the book has {shown}"
        raise ConfigError(
            f"has no machine {name!r}",
            where=f"price book {self.name}",
            remedy=f"{near} {has[0].upper()}{has[1:]}" if near else has,
        )

    def billing_on(self, day: dt.date) -> BillingRule:
        """Return the rule in force on ``day``; the last one if all have ended."""
        in_force = (rule for rule in self.billing if rule.until is None or day <= rule.until)
        return next(in_force, self.billing[-1])


def shown(value: Decimal) -> str:
    """Write a number as it was given, however long it is."""
    text = f"{value:f}" if value.is_finite() and abs(value.adjusted()) < MOST_DIGITS else str(value)
    return text if len(text) <= 2 * MOST_DIGITS else f"{text[:MOST_DIGITS]}..."
