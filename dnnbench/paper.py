"""Table 2 as published.

Source: S. V. Mullapudi, "Distributed Deep Neural Networks", report for the degree of Master of
Science in Engineering, The University of Texas at Austin, December 2017, Tables 1 and 2.
"""

from __future__ import annotations

from typing import Final

SOURCE: Final = "Mullapudi, Distributed Deep Neural Networks, UT Austin, 2017"

TABLE_2_EPOCH_S: Final[dict[str, dict[int, float]]] = {
    "downpour": {4: 3.52, 8: 3.53, 12: 3.55},
    "dc-sgd": {4: 3.59, 8: 3.61, 12: 3.64},
}
"""Protocol -> nodes -> average epoch time in seconds."""

TABLE_2_GROWTH_PERCENT: Final[dict[str, float]] = {"downpour": 0.8, "dc-sgd": 1.4}
"""Growth of the epoch time from 4 to 12 nodes, as the report's text states it."""
