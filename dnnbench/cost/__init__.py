"""Price books, Table 1 recomputed, and the cost of a sweep.

Tables and rendering are in :mod:`dnnbench.cost.tables` and :mod:`dnnbench.cost.render`, which are
imported only to show something.
"""

from dnnbench.cost.basis import (
    DEFAULT_DISK_GB,
    Basis,
    bases_of_book,
    basis_of_book,
    basis_of_own_hardware,
    basis_of_own_hosts,
)
from dnnbench.cost.book import PriceBook
from dnnbench.cost.library import TABLE_1_BOOK, list_books, load_book
from dnnbench.cost.plans import plans_within
from dnnbench.cost.sweep import SweepCost, cost_of_sweep
from dnnbench.cost.table1 import Table1, table_1

__all__ = [
    "DEFAULT_DISK_GB",
    "TABLE_1_BOOK",
    "Basis",
    "PriceBook",
    "SweepCost",
    "Table1",
    "bases_of_book",
    "basis_of_book",
    "basis_of_own_hardware",
    "basis_of_own_hosts",
    "cost_of_sweep",
    "list_books",
    "load_book",
    "plans_within",
    "table_1",
]
