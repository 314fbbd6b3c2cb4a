"""Tables 1 and 2 as published.

Source: S. V. Mullapudi, "Distributed Deep Neural Networks", report for the degree of Master of
Science in Engineering, The University of Texas at Austin, December 2017, Tables 1 and 2.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from dnnbench.trial.spec import CellKey

SOURCE: Final = "Mullapudi, Distributed Deep Neural Networks, UT Austin, 2017"

TABLE_2_EPOCH_S: Final[dict[str, dict[int, float]]] = {
    "downpour": {4: 3.52, 8: 3.53, 12: 3.55},
    "dc-sgd": {4: 3.59, 8: 3.61, 12: 3.64},
}
"""Protocol -> nodes -> average epoch time in seconds, for the two protocols measured."""

TABLE_2_MODEL: Final = "mnist-dnn"
TABLE_2_DATA: Final = ("mnist", "synthetic-mnist")
"""MNIST, and the data set that stands in for it: the same shapes, the same work per epoch."""

TABLE_2_GROWTH_PERCENT: Final[dict[str, float]] = {"downpour": 0.8, "dc-sgd": 1.4}
"""Growth of the epoch time from 4 to 12 nodes, as the report's text states it."""


def published_epoch_s(key: CellKey) -> float | None:
    """Return the published epoch time of a cell; None where there is none."""
    return TABLE_2_EPOCH_S.get(key.protocol, {}).get(key.nodes)


class Table1Row(NamedTuple):
    """A row of Table 1: a year of a Google Cloud configuration, August 2017.

    vCPUs, RAM, GPUs and VRAM are totals over ``machines``.
    """

    label: str
    machine: str
    machines: int
    vcpus: int
    ram_gb: Decimal
    gpus: int
    vram_gb: int
    usd_per_year: Decimal


TABLE_1: Final = tuple(
    Table1Row(label, machine, machines, vcpus, Decimal(ram_gb), gpus, vram_gb, Decimal(usd))
    for label, machine, machines, vcpus, ram_gb, gpus, vram_gb, usd in (
        ("N1-standard-1 / 4", "n1-standard-1", 4, 4, "15", 0, 0, "1272.17"),
        ("N1-standard-8 / 4", "n1-standard-8", 4, 32, "120", 0, 0, "12244.24"),
        ("N1-highmem-16 / 4", "n1-highmem-16", 4, 64, "416", 0, 0, "27156.53"),
        ("N1-standard-1 / 1", "n1-standard-1", 1, 1, "3.75", 1, 24, "4598.06"),
        ("N1-standard-8 / 1", "n1-standard-8", 1, 8, "30", 4, 96, "20595.77"),
        ("N1-highmem-16 / 1", "n1-highmem-16", 1, 16, "104", 8, 192, "41410.21"),
    )
)
"""As printed, slips included; ``dnnbench.cost`` recomputes it and shows the differences."""
