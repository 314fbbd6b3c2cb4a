"""The tables of costs as values, the same for every format.

Amounts are rounded only here: to the cent from 1 USD on, to three digits below. The facts about a
price book are listed once, at the end, however many tables use it.
"""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from dnnbench.cost.table1 import CENT
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import count_text
from dnnbench.trial.spec import CellKey
from dnnbench.trial.variation import in_words

if TYPE_CHECKING:
    from dnnbench.cost.basis import Basis
    from dnnbench.cost.book import PriceBook
    from dnnbench.cost.sweep import CellCost, SweepCost
    from dnnbench.cost.table1 import Table1
    from dnnbench.text.tables import Fields

NODES = Column("Nodes")


def cost_facts(sweep: SweepCost) -> Fields:
    """Return the sweep and the data set that are priced, and how old the prices are."""
    facts = [("Sweep", sweep.sweep), ("Data", sweep.data)]
    return [*facts, ("Prices", sweep.prices)] if sweep.prices else facts


def published_prices(table: Table1) -> Table:
    """Return Table 1 as published and as recomputed, with an explanation of each row."""
    per_year = [Column(name, "USD/year") for name in ("published", "recomputed", "difference")]
    return Table(
        "Table 1: a year on Google Cloud, published and recomputed",
        [
            Column("Machine / count", is_text=True),
            *(Column(name) for name in ("vCPUs", "RAM GB", "K80 GPUs")),
            *per_year,
        ],
        [
            [
                row.label,
                str(row.vcpus),
                str(row.ram_gb),
                str(row.gpus),
                f"{row.published_usd:,.2f}",
                f"{row.recomputed_usd:,.2f}",
                f"{row.difference_usd:+,.2f}" if row.difference_usd else "0.00",
            ]
            for row in table.rows
        ],
        [
            *(f"{row.label}: {row.why}." for row in table.rows),
            f"Published: {table.source}.",
            f"Recomputed from {_book_text(table.book.name, table.book)}.",
            "Included: machines, GPUs, one local SSD per machine, sustained use of full months.",
            "Not included, as in the report: persistent disks, network, load balancing.",
            "Machines with GPUs are priced as custom machine types.",
            "Prices of a full year: they must not be pro-rated to shorter use.",
        ],
    )


def cells(cost: SweepCost) -> Table:
    """Return the cost of each node count and protocol."""
    varies = any(cell.variation for cell in cost.cells)
    columns = [NODES, Column("Protocol", is_text=True)]
    columns += [Column("Setting", is_text=True)] if varies else []
    columns += [Column("trials"), Column("s/pass")]
    columns += [Column("pass", "USD per"), Column("trial", "USD per"), Column("all trials", "USD")]
    if cost.accuracy is not None:
        columns += [Column(f"to {100 * cost.accuracy:g} %", "USD"), Column("reached")]
    title = titled(cost, "Cost of the sweep by node count and protocol")
    return Table(
        title, columns, [_cell_row(cell, varies) for cell in cost.cells], _cell_notes(cost)
    )


def _cell_notes(cost: SweepCost) -> list[str]:
    basis = cost.basis
    price = f"nodes x {basis.rate.usd_per_hour:.6f} per node and hour"
    if basis.is_per_host:
        price = f"hosts that took part x {basis.rate.usd_per_hour:.6f} per host and hour"
    if basis.host_usd_per_hour:
        price = "the sum of the prices of the hosts that took part"
    notes = [
        f"USD: time x {price}, no minimum.",
        "A pass: the workers together train on as many examples as the training set has.",
        "An epoch of N workers may be N passes; costs of an epoch would be those of unlike work.",
        "A trial's time includes start-up, warm-up and evaluation; a pass does not.",
    ]
    if cost.not_priced:
        notes.append(
            f"No amount: {cost.not_priced}. Such seconds are not those of a machine per node, "
            "nor is their sum. Measure on hosts with a core for each role; --usd-per-hour prices "
            "the hosts that were used."
        )
    if cost.nodes_per_host > 1:
        paid = "which is paid once" if basis.is_per_host else "each priced as a machine"
        notes.append(
            f"Measured with up to {cost.nodes_per_host} nodes on one host, {paid}. On separate "
            "machines, times and therefore costs would differ."
        )
    if cost.unfinished:
        notes.append(
            f"{cost.unfinished} of {cost.finished + cost.unfinished} trials did not finish: in the "
            "USD of all trials and in the bills, but not in the means per pass and trial."
        )
    for cell in cost.cells:
        if cell.void:
            key = CellKey(cell.nodes, cell.protocol, tuple(cell.variation.items()))
            notes.append(f"No mean of {key}: {cell.void}.")
    if cost.not_run:
        more = "trial was" if cost.not_run == 1 else "trials were"
        notes.append(f"{cost.not_run} more {more} not run and cost nothing.")
    if cost.accuracy is not None:
        notes.append(
            f"USD to {100 * cost.accuracy:g} % test accuracy (DAWNBench's cost to accuracy): "
            "training time to the first epoch at or above it, mean over the trials that reached "
            "it. A trial that did not reach it has no such cost, which is not the same as zero."
        )
    return notes


def bills(cost: SweepCost) -> Table:
    """Return the cost of the whole sweep at the list price and by the billing rules."""
    rule = cost.basis.billing
    minimum = f"at least {rule.minimum_s} s" if rule.minimum_s else "no minimum"
    machines = "1 machine" if cost.kept_machines == 1 else f"{cost.kept_machines} machines"
    kept = f"{machines} kept for the whole sweep ({cost.kept_s:,.0f} s)"
    return Table(
        titled(cost, "Bill for the whole sweep"),
        [Column("Billed as", is_text=True), Column("USD")],
        [
            ["node-time of the trials at the list price", usd(cost.list_usd)],
            [kept, usd(cost.kept_usd)],
            ["new machines for every trial", usd(cost.new_machines_usd)],
        ],
        [
            f"Each machine is billed in steps of {rule.granularity_s} s, {minimum}.",
            "The time between trials and for setting up machines is not included.",
            *_repeated_notes(cost),
            *_basis_notes(cost.basis),
        ],
    )


def _repeated_notes(cost: SweepCost) -> list[str]:
    """Return a note on attempts that were repeated, if there were any."""
    if not cost.repeated:
        return []
    attempts = count_text(cost.repeated, "earlier attempt")
    return [f"Nor are {attempts} at trials that were begun again ({cost.repeated_s:,.0f} s)."]


def years(cost: SweepCost) -> Table:
    """Return the cost of the machines of each node count for a year."""
    basis = cost.basis
    has_discount = bool(basis.sustained_use.tiers)
    discount = "with the sustained-use discount" if has_discount else "no discount"
    return Table(
        "The same machines for a year",
        [NODES, Column("USD/year")],
        [[str(nodes), usd(amount)] for nodes, amount in cost.year_usd.items()],
        [
            f"{basis.hours_per_year:,} h without a break, {discount}.",
            "Must not be pro-rated: shorter use is billed as above.",
        ],
    )


def price_books(table_1: Table1, sweep: SweepCost | None) -> Fields:
    """Return the sources and assumptions of each price book, once per book."""
    books = [_book_facts(table_1.book.name, table_1.book)]
    if sweep is not None and sweep.basis.book is not None:
        book = _book_facts(sweep.basis.book, sweep.basis)
        if book not in books:  # a user's own book may have the name of a shipped one
            books.append(book)
    return [fact for book in books for fact in book]


def usd(amount: Decimal | None) -> str:
    """Write an amount; a dash if there is none."""
    if amount is None:
        return NONE
    places = CENT if amount >= 1 or amount == 0 else Decimal(1).scaleb(amount.adjusted() - 2)
    return f"{amount.quantize(places, ROUND_HALF_UP):,f}"


def titled(cost: SweepCost, text: str) -> str:
    """Add the name of the data set to a title."""
    return f"{text} ({cost.data})"


def _cell_row(cell: CellCost, varies: bool) -> list[str]:
    failed = f" + {cell.unfinished} unfinished" if cell.unfinished else ""
    row = [
        str(cell.nodes),
        cell.protocol,
        *([in_words(cell.variation.items())] if varies else []),
        f"{cell.finished}{failed}",
        NONE if cell.pass_s is None else f"{cell.pass_s:.3f}",
        usd(cell.usd_per_pass),
        usd(cell.usd_per_trial),
        usd(cell.list_usd),
    ]
    if cell.target is None:
        return row
    return [*row, usd(cell.target.usd), f"{cell.target.reached}/{cell.target.trials}"]


def _basis_notes(basis: Basis) -> list[str]:
    """Return notes on the source of the prices, and on what they include and leave out."""
    if basis.host_usd_per_hour:
        prices = Counter(basis.host_usd_per_hour.values()).items()
        each = ", ".join(f"{hosts} at {price}" for price, hosts in prices)
        what = f"{each} {basis.currency} per hour, no extras, no discount"
        return [f"Prices: {basis.machine}, {what}."]
    if basis.book is None:
        price = f"{basis.machine_usd_per_hour} {basis.currency} per host and hour"
        return [f"Prices: own hardware at {price}, no extras, no discount."]
    included = [f"{basis.machine} at {basis.machine_usd_per_hour} {basis.currency}/h"]
    left_out = ["local SSD", "network", "tax"]
    if basis.gpu:
        included.append(f"its GPU ({basis.gpu}), in that price")
    else:
        left_out.insert(0, "GPU (the machine has none)")
    if basis.disk_gb:
        disk = f"a {basis.disk_gb} GB persistent disk at {basis.disk_usd_per_hour:.6f}"
        included.append(f"{disk} {basis.currency}/h")
    else:
        left_out.insert(0, "persistent disk")
    notes = [
        f"Prices from {_book_text(basis.book, basis)}.",
        f"Included for each machine: {'; '.join(included)}. Not included: {', '.join(left_out)}.",
    ]
    if tiers := basis.sustained_use.tiers:
        full_h = tiers[0].share * basis.hours_per_month
        notes.append(
            f"Sustained use: no discount for the first {full_h.normalize():f} h of a month."
        )
    return notes


def _book_text(name: str, source: PriceBook | Basis) -> str:
    return f"price book {name}, as of {source.as_of}"


def _book_facts(name: str, source: PriceBook | Basis) -> Fields:
    regions = ", ".join(source.regions)
    return [
        ("Price book", f"{name}, as of {source.as_of}, {source.currency}, {regions}"),
        *(("Source", text) for text in source.sources),
        *(("Assumed", text) for text in source.assumptions),
    ]
