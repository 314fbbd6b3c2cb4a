"""The basis of a cost: prices and rules, kept with every result so that it can be reproduced."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dnnbench.cost.book import (
    CURRENCY,
    HOURS_PER_MONTH,
    BillingRule,
    Machine,
    PriceBook,
    SustainedUse,
)
from dnnbench.cost.pricing import (
    MONTHS_PER_YEAR,
    SECONDS_PER_HOUR,
    Rate,
    cost_usd,
    disk_rate,
    machine_rate,
    parse_price,
    spot_rate,
)
from dnnbench.errors import ConfigError
from dnnbench.trial.tasks import PARAMETER_SERVER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dnnbench.trial.outcome import TrialOutcome

DEFAULT_DISK_GB = 20  # of each machine of the published experiment
OWN_HARDWARE = "own hardware"
OWN_HOSTS = "the hosts' own prices"
_NO_RULE = BillingRule(granularity_s=1, minimum_s=0)


class Rates(NamedTuple):
    """Rates of the machines of a trial: those with a worker, and those of parameter servers alone.

    A host that has both is one with a worker.
    """

    workers: Rate
    parameter_servers: Rate

    @property
    def total(self) -> Rate:
        """Of all of them."""
        return self.workers + self.parameter_servers


class Basis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The prices and rules of one machine, or of hosts that have prices of their own.

    Attributes:
        book: name of the price book; None for own hardware.
        machine_usd_per_hour: without the disk.
        gpu: the accelerators that the machine's price includes.
        disk_gb: size of the persistent disk of each machine; 0 if none is included.
        rate: of one machine with its disk; every node is one, unless ``is_per_host``.
        host_usd_per_hour: host -> its own price; replaces ``rate``, which is then zero.
        spot_rate: of such a machine that the cloud may take back; None if it has no such price.
        vcpus: of the machine; None if the book does not tell.
        region: of the machine's price, if the book has several.
        is_per_host: whether each host is paid once, however many nodes it runs: own hardware.
    """

    book: str | None
    as_of: dt.date | None
    regions: tuple[str, ...]
    sources: tuple[str, ...]
    assumptions: tuple[str, ...]
    machine: str
    machine_usd_per_hour: Decimal
    gpu: str | None
    disk_gb: int
    disk_usd_per_hour: Decimal
    rate: Rate
    billing: BillingRule
    sustained_use: SustainedUse
    hours_per_month: int
    currency: str = CURRENCY
    host_usd_per_hour: dict[str, Decimal] = {}
    spot_rate: Rate | None = None
    vcpus: float | None = None
    region: str | None = None
    is_per_host: bool = False

    @property
    def hours_per_year(self) -> int:
        """Hours of a year as the price book counts them."""
        return MONTHS_PER_YEAR * self.hours_per_month

    def machines(self, nodes: int, hosts: Collection[str]) -> int:
        """Return the number of machines paid for: the nodes, or hosts that are paid once each."""
        return len(set(hosts)) or nodes if self.is_per_host else nodes

    def rate_of(self, nodes: int, hosts: Collection[str]) -> Rate:
        """Return the rate of all machines needed for ``nodes`` on ``hosts``."""
        if not self.host_usd_per_hour:
            return self.rate * self.machines(nodes, hosts)
        return Rate(flat_usd=sum((self.host_usd_per_hour[h] for h in set(hosts)), Decimal(0)))

    def rates_of(self, trial: TrialOutcome) -> Rates:
        """Return the rates of the machines of a trial."""
        servers, workers = trial.order.parameter_servers, trial.order.workers
        tasks = trial.placement.items()
        with_worker = {host for task, host in tasks if not task.startswith(PARAMETER_SERVER)}
        others = {host for _, host in tasks} - with_worker
        if self.is_per_host and trial.placement:
            servers, workers = len(others), len(with_worker)
        none = Rate()
        return Rates(
            workers=self.rate_of(workers, with_worker) if workers else none,
            parameter_servers=self.rate_of(servers, others) if servers else none,
        )

    def list_usd(self, uses: Iterable[tuple[Rate, Decimal]]) -> Decimal:
        """Add up rates x seconds at the list price: no minimum, no rounding up, no discount."""
        amounts = (rate.usd_per_hour * duration_s for rate, duration_s in uses)
        return sum(amounts, Decimal(0)) / SECONDS_PER_HOUR

    def bill_usd(self, rate: Rate, duration_s: Decimal) -> Decimal:
        """Return the bill for machines that are started, used for the given time, and deleted."""
        billed_s = self.billing.billed_s(duration_s)
        return cost_usd(rate, billed_s, self.sustained_use, self.hours_per_month)

    def year_usd(self, rate: Rate) -> Decimal:
        """Return the bill for a full year of continuous use."""
        return self.bill_usd(rate, Decimal(self.hours_per_year * SECONDS_PER_HOUR))


def basis_of_book(
    book: PriceBook,
    machine: str | None = None,
    *,
    disk_gb: int = DEFAULT_DISK_GB,
    billed_on: dt.date | None = None,
) -> Basis:
    """Return the basis for a machine type of a price book.

    Args:
        book: the source of prices and rules.
        machine: a machine type of the book; by default `PriceBook.default_machine`.
        disk_gb: persistent disk of each machine; left out if the book has no price for one.
        billed_on: day whose billing rule applies; by default the book's own date.

    Raises:
        ConfigError: unknown machine, or a disk size below zero.
    """
    if disk_gb < 0:
        raise ConfigError(f"expected a disk size of 0 GB or more, found {disk_gb}", where="disk")
    machine = machine or book.default_machine
    rate, spot = machine_rate(book, machine), spot_rate(book, machine)
    kind = book.find_machine(machine)
    is_own = not isinstance(kind, Machine)
    has_disk = disk_gb > 0 and book.pd_standard is not None and not is_own
    disk = disk_rate(book, disk_gb) if has_disk else Rate()
    return Basis(
        book=book.name,
        as_of=book.as_of,
        regions=book.regions,
        sources=book.sources,
        assumptions=book.assumptions,
        machine=machine,
        machine_usd_per_hour=rate.usd_per_hour,
        gpu=kind.gpu if isinstance(kind, Machine) else None,
        disk_gb=disk_gb if has_disk else 0,
        disk_usd_per_hour=disk.usd_per_hour,
        rate=rate + disk,
        billing=_NO_RULE if is_own else book.billing_on(billed_on or book.as_of),
        sustained_use=SustainedUse() if is_own else book.sustained_use,
        hours_per_month=book.hours_per_month,
        currency=book.currency,
        spot_rate=spot + disk if spot else None,
        vcpus=kind.vcpus,
        region=kind.region if isinstance(kind, Machine) else None,
        is_per_host=is_own,
    )


def bases_of_book(book: PriceBook) -> list[Basis]:
    """Return the basis for every machine type of a price book."""
    return [basis_of_book(book, name) for name in book.machines]


def basis_of_own_hardware(usd_per_hour: str | float | Decimal) -> Basis:
    """Return the basis for one flat price per host and hour: no discount, minimum or extras.

    Raises:
        ConfigError: the price is not above zero.
    """
    price = parse_price(usd_per_hour, "price per hour of own hardware")
    return _basis_without_book(OWN_HARDWARE, price, {})


def basis_of_own_hosts(usd_per_hour: Mapping[str, str | float | Decimal]) -> Basis:
    """Return the basis for one flat price per host and hour, however many nodes a host runs.

    Raises:
        ConfigError: a price is not above zero.
    """
    prices = {host: parse_price(usd, f"price of {host}") for host, usd in usd_per_hour.items()}
    return _basis_without_book(OWN_HOSTS, Decimal(0), prices)


def _basis_without_book(machine: str, price: Decimal, host_prices: dict[str, Decimal]) -> Basis:
    return Basis(
        book=None,
        as_of=None,
        regions=(),
        sources=(),
        assumptions=(),
        machine=machine,
        machine_usd_per_hour=price,
        gpu=None,
        disk_gb=0,
        disk_usd_per_hour=Decimal(0),
        rate=Rate(flat_usd=price),
        billing=_NO_RULE,
        sustained_use=SustainedUse(),
        hours_per_month=HOURS_PER_MONTH,
        host_usd_per_hour=host_prices,
        is_per_host=True,
    )
