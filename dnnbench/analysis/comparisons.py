"""Comparisons of cells: growth over the node counts, overhead of a protocol over its baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.published import (
    TABLE_2_EPOCH_S,
    TABLE_2_GROWTH_PERCENT,
    published_epoch_s,
)
from dnnbench.analysis.stats import RatioEstimate, ratio_percent
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Mapping


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Growth of the epoch time from the smallest to the largest node count of one setting."""

    protocol: ProtocolName
    from_nodes: int
    to_nodes: int
    measured: RatioEstimate | None
    published_percent: float | None
    variation: dict[str, Value] = {}


class Overhead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Excess of a protocol's epoch time over that of its baseline, with the same setting."""

    nodes: int
    protocol: ProtocolName
    baseline: ProtocolName
    measured: RatioEstimate | None
    published_percent: float | None
    variation: dict[str, Value] = {}

    @property
    def key(self) -> CellKey:
        """The cell that the overhead belongs to."""
        return CellKey(self.nodes, self.protocol, tuple(self.variation.items()))


def growth(times: Mapping[CellKey, Mapping[int, float]]) -> list[Growth]:
    """Compare the largest node count with the smallest, unpaired: their repeats share nothing."""
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
            published_percent=_published_growth(low, high.nodes),
            variation=dict(low.variation),
        )
        for low, high in ends.values()
        if low != high
    ]


def _published_growth(low: CellKey, high_nodes: int) -> float | None:
    published = TABLE_2_EPOCH_S.get(low.protocol, {})
    if published and (low.nodes, high_nodes) == (min(published), max(published)):
        return TABLE_2_GROWTH_PERCENT[low.protocol]
    return _excess_percent(published.get(high_nodes), published.get(low.nodes))


def overhead(times: Mapping[CellKey, Mapping[int, float]]) -> list[Overhead]:
    """Compare protocols with their baselines, paired: equal repeats share their seed."""
    pairs = [(key, key.baseline()) for key in sorted(times)]
    return [
        Overhead(
            nodes=key.nodes,
            protocol=key.protocol,
            baseline=base.protocol,
            measured=ratio_percent(times[key], times[base], paired=True),
            published_percent=_excess_percent(published_epoch_s(key), published_epoch_s(base)),
            variation=dict(key.variation),
        )
        for key, base in pairs
        if base is not None and base in times
    ]


def _excess_percent(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else 100.0 * (above / below - 1.0)
