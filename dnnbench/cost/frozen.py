"""The price book that a sweep was run with, stored beside its outcomes.

``prices.json`` holds the whole book, so that a later ``dnnbench cost`` of the sweep gives the same
amounts though the book has changed or is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.cost.book import PriceBook
from dnnbench.sweep.documents import read_document, write_document

if TYPE_CHECKING:
    from dnnbench.sweep.store import SweepStore

PRICES: Final = "prices.json"


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price book as it was when the sweep began.

    Attributes:
        asked: name or path in the settings.
        region: in the settings.
    """

    asked: str
    region: str | None
    book: PriceBook


def freeze(store: SweepStore, frozen: Frozen) -> None:
    """Store the price book of a new sweep."""
    write_document(store.path / PRICES, "prices", frozen)


def frozen_prices(store: SweepStore) -> Frozen | None:
    """Return the price book that a sweep was run with; None if an earlier version stored none.

    Raises:
        ResultsError: it is damaged.
    """
    path = store.path / PRICES
    return read_document(path, "prices", Frozen) if path.exists() else None
