"""The prices that settings ask for: of a stored sweep, and of one that is to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.cost import (
    Basis,
    bases_of_book,
    basis_of_book,
    basis_of_own_hardware,
    basis_of_own_hosts,
    load_book,
)
from dnnbench.cost.frozen import Frozen, frozen_prices
from dnnbench.errors import ConfigError
from dnnbench.settings.setting import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.cost import PriceBook
    from dnnbench.settings.schema import Config, CostConfig, Resolved
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.outcome import TrialOutcome

_PRICED_BY: Final = ("price_book", "region", "machine", "usd_per_hour")


class Prices(NamedTuple):
    """The prices of a sweep.

    Attributes:
        basis: of the sweep itself.
        types: of every machine type that it could have run on.
        note: on how they relate to those that the sweep was run with; may be empty.
    """

    basis: Basis
    types: list[Basis]
    note: str


def prices_of_settings(config: CostConfig) -> Prices:
    """Return the prices that settings ask for, without any sweep.

    Raises:
        ConfigError: the price book cannot be used, or lacks the machine.
    """
    return _prices(config, load_book(config.price_book, config.region), "")


def prices_of_sweep(
    resolved: Resolved, store: SweepStore, outcomes: Sequence[TrialOutcome]
) -> Prices:
    """Return the prices of a stored sweep.

    The book is the one that the sweep was run with, as it was then, unless an option or a variable
    names one, or ``dnnbench.toml`` another one. Machine type and price of own hardware follow the
    present settings where these have one, else those of the run. Hosts' own prices count if every
    host has one and no option or variable overrides them.
    """
    now, then = resolved.config.cost, store.resolved.config.cost
    kept = frozen_prices(store)
    if kept is None or not _is_kept(resolved, kept):
        book = load_book(now.price_book, now.region)
        note = _against(book, kept)
    else:
        book, note = kept.book, _against_now(kept)
        for name in ("machine", "usd_per_hour"):
            is_set = store.resolved.origins.get(f"cost.{name}", "default") != "default"
            if is_set and resolved.origins[f"cost.{name}"] == "default":
                now = msgspec.structs.replace(now, **{name: getattr(then, name)})
    if own := _own_prices(resolved, store, outcomes):
        return Prices(own, [own], "")
    return _prices(now, book, note)


def prices_of_run(config: Config) -> Basis | None:
    """Return the prices of the machines that a sweep is going to run on; None if they have none.

    Raises:
        ConfigError: the price book cannot be used, or lacks the machine.
    """
    if config.cost.usd_per_hour is not None:
        return basis_of_own_hardware(config.cost.usd_per_hour)
    if not config.hosts:
        return None
    own = {host.name: host.usd_per_hour for host in config.hosts}
    known = {host: usd for host, usd in own.items() if usd is not None}
    if len(known) == len(own):
        return basis_of_own_hosts(known)
    # Each host is one machine of that type, however many nodes it runs.
    return msgspec.structs.replace(prices_of_settings(config.cost).basis, is_per_host=True)


def frozen_for(config: CostConfig) -> Frozen:
    """Return the price book in use, to be kept with a new sweep."""
    book = load_book(config.price_book, config.region)
    return Frozen(asked=config.price_book, region=config.region, book=book)


def _prices(config: CostConfig, book: PriceBook, note: str) -> Prices:
    types = bases_of_book(book)
    if config.usd_per_hour is not None:
        own = basis_of_own_hardware(config.usd_per_hour)
        return Prices(own, [own, *types], note)
    return Prices(basis_of_book(book, config.machine), types, note)


def _is_kept(resolved: Resolved, kept: Frozen) -> bool:
    """Return whether settings leave the book of the run in place."""
    asked = resolved.config.cost.price_book, resolved.config.cost.region
    origins = [resolved.origins[f"cost.{name}"] for name in ("price_book", "region")]
    if any(origin.startswith(("--", ENVIRONMENT_PREFIX)) for origin in origins):
        return False
    return origins == ["default", "default"] or asked == (kept.asked, kept.region)


def _against_now(kept: Frozen) -> str:
    """Tell how the book that was kept differs from the present one."""
    same = f"as when the sweep was run, with price book {kept.book.name} of {kept.book.as_of}"
    try:
        now = load_book(kept.asked, kept.region)
    except ConfigError:
        return f"{same}, which cannot be found now"
    if now == kept.book:
        return same
    return (
        f"{same}; it has changed since: --price-book {kept.asked} takes the present one "
        f"of {now.as_of}"
    )


def _against(book: PriceBook, kept: Frozen | None) -> str:
    if kept is None:
        return "of the present price book: the sweep was stored without one"
    if book == kept.book:
        return ""
    return (
        f"not those that the sweep was run with, price book {kept.book.name} of {kept.book.as_of}"
    )


def _own_prices(
    resolved: Resolved, store: SweepStore, outcomes: Sequence[TrialOutcome]
) -> Basis | None:
    """Return the hosts' own prices if each host has one and no option or variable overrides them.

    A price in the current settings replaces the one that the sweep was run with.
    """
    origins = [resolved.origins[f"cost.{name}"] for name in _PRICED_BY]
    if any(origin.startswith(("--", ENVIRONMENT_PREFIX)) for origin in origins):
        return None
    listed = (*store.resolved.config.hosts, *resolved.config.hosts)
    prices = {host.name: host.usd_per_hour for host in listed if host.usd_per_hour is not None}
    used = {host for outcome in outcomes for host in outcome.placement.values()}
    if not used or used - prices.keys():
        return None
    return basis_of_own_hosts({host: prices[host] for host in sorted(used)})
