"""Comparisons of cells: growth over the node counts, overhead of a protocol over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.published import TABLE_2_EPOCH_S, TABLE_2_GROWTH_PERCENT
from dnnbench.analysis.stats import RatioEstimate, ratio_percent
from dnnbench.trial.spec import (
    PROTOCOLS,
    Protocol,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.analysis.analyse import _Key


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Growth of the epoch time from the smallest to the largest node count."""

    protocol: Protocol
    from_nodes: int
    to_nodes: int
    measured: RatioEstimate | None
    published_percent: float | None


class Overhead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By how much the epoch time of ``dc-sgd`` exceeds that of ``downpour``."""

    nodes: int
    measured: RatioEstimate | None
    published_percent: float | None


def growth(times: Mapping[_Key, Mapping[int, float]]) -> list[Growth]:
    """Compare the ends of the sweep; repeats of different node counts share nothing."""
    low, high = min(nodes for nodes, _ in times), max(nodes for nodes, _ in times)
    if low == high:
        return []
    return [
        Growth(
            protocol=protocol,
            from_nodes=low,
            to_nodes=high,
            measured=ratio_percent(
                times.get((high, protocol), {}), times.get((low, protocol), {}), paired=False
            ),
            published_percent=_published_growth(protocol, low, high),
        )
        for protocol in PROTOCOLS
        if any(p == protocol for _, p in times)
    ]


def _published_growth(protocol: Protocol, low: int, high: int) -> float | None:
    published = TABLE_2_EPOCH_S[protocol]
    if (low, high) == (min(published), max(published)):
        return TABLE_2_GROWTH_PERCENT[protocol]
    return _excess_percent(published.get(high), published.get(low))


def overhead(times: Mapping[_Key, Mapping[int, float]]) -> list[Overhead]:
    """Compare the protocols, node count by node count; equal repeats share their seed."""
    downpour, compensated = PROTOCOLS
    return [
        Overhead(
            nodes=nodes,
            measured=ratio_percent(times[nodes, compensated], times[nodes, downpour], paired=True),
            published_percent=_excess_percent(
                TABLE_2_EPOCH_S[compensated].get(nodes), TABLE_2_EPOCH_S[downpour].get(nodes)
            ),
        )
        for nodes in sorted({nodes for nodes, _ in times})
        if {(nodes, downpour), (nodes, compensated)} <= times.keys()
    ]


def _excess_percent(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else 100.0 * (above / below - 1.0)
