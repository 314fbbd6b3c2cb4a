"""Comparisons of cells: growth over the node counts, overhead of a protocol over its baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.published import (
    TABLE_2_EPOCH_S,
    TABLE_2_GROWTH_PERCENT,
)
from dnnbench.analysis.stats import Difference, RatioEstimate, difference, ratio_percent
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Published = Callable[[CellKey], float | None]


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Growth of the epoch time from the smallest to the largest node count of one setting.

    Attributes:
        measured: None if an end has fewer than two trials.
        published_percent: None if the setting is not the report's.
    """

    protocol: ProtocolName
    from_nodes: int
    to_nodes: int
    measured: RatioEstimate | None
    published_percent: float | None
    variation: dict[str, Value] = {}


class Overhead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Excess of a protocol's epoch time over that of its baseline, and its gain in accuracy.

    Both have the same setting.

    Attributes:
        measured: None if there are fewer than two trials.
        accuracy_points: final test accuracy minus the baseline's, in percentage points; None if
            there are fewer than two trials.
        published_percent: None if the setting is not the report's.
    """

    nodes: int
    protocol: ProtocolName
    baseline: ProtocolName
    measured: RatioEstimate | None
    published_percent: float | None
    accuracy_points: Difference | None = None
    variation: dict[str, Value] = {}

    @property
    def key(self) -> CellKey:
        """The cell that the overhead belongs to."""
        return CellKey(self.nodes, self.protocol, tuple(self.variation.items()))


def growth(times: Mapping[CellKey, Mapping[int, float]], published_s: Published) -> list[Growth]:
    """Compare the largest node count with the smallest, unpaired: their repeats share nothing.

    ``published_s`` returns the epoch time of a cell that the report has under the same setting.
    """
    ends: dict[CellKey, tuple[CellKey, CellKey]] = {}
    for key in sorted(times):
        setting = key.with_nodes(0)
        low, _ = ends.get(setting, (key, key))
        ends[setting] = low, key
    return [
        Growth(
            protocol=low.protocol,
            from_nodes=low.nodes,
            to_nodes=high.nodes,
            measured=ratio_percent(times[high], times[low], paired=False),
            published_percent=published_growth(low, high, published_s),
            variation=dict(low.variation),
        )
        for low, high in ends.values()
        if low != high
    ]


def published_growth(low: CellKey, high: CellKey, published_s: Published) -> float | None:
    """Return the published growth in percent between two cells; None where there is none."""
    excess = _excess_percent(published_s(high), published_s(low))
    of_table = TABLE_2_EPOCH_S.get(low.protocol, {})
    if excess is not None and (low.nodes, high.nodes) == (min(of_table), max(of_table)):
        return TABLE_2_GROWTH_PERCENT[low.protocol]  # as the report's text rounds it
    return excess


def overhead(
    times: Mapping[CellKey, Mapping[int, float]],
    accuracies: Mapping[CellKey, Mapping[int, float]],
    published_s: Published,
) -> list[Overhead]:
    """Compare protocols with their baselines, paired: equal repeats share their seed.

    ``accuracies`` are test accuracies, 0 to 1, of trials that did not diverge.
    """
    pairs = [(key, key.baseline()) for key in sorted(times)]
    return [
        Overhead(
            nodes=key.nodes,
            protocol=key.protocol,
            baseline=base.protocol,
            measured=ratio_percent(times[key], times[base], paired=True),
            published_percent=_excess_percent(published_s(key), published_s(base)),
            accuracy_points=difference(
                _in_percent(accuracies[key]), _in_percent(accuracies[base]), paired=True
            ),
            variation=dict(key.variation),
        )
        for key, base in pairs
        if base is not None and base in times
    ]


def _in_percent(shares: Mapping[int, float]) -> dict[int, float]:
    return {repeat: 100.0 * share for repeat, share in shares.items()}


def _excess_percent(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else 100.0 * (above / below - 1.0)
