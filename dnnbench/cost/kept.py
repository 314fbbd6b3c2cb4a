"""The time for which machines are kept for a sweep, whose trials may run side by side."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from dnnbench.cost.accuracy import exact
from dnnbench.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.trial.outcome import TrialOutcome


class _Span(NamedTuple):
    """The time of a trial on its hosts, in seconds since 1970."""

    start_s: Decimal
    end_s: Decimal
    hosts: frozenset[str]


def kept_time(trials: Sequence[TrialOutcome]) -> tuple[Decimal, bool]:
    """Return the seconds in which any of the trials ran, and whether some ran side by side.

    A host has one trial at a time. So only trials on other hosts can overlap, whatever the rounding
    of their start to whole seconds.
    """
    spans: list[_Span] = []
    kept_s, is_beside = Decimal(0), False
    for span in sorted((_span(trial) for trial in trials), key=lambda span: span.start_s):
        spans = [other for other in spans if other.end_s > span.start_s]
        beside = [
            (max(span.start_s, other.start_s), min(span.end_s, other.end_s))
            for other in spans
            if not other.hosts & span.hosts
        ]
        covered_s = _covered(beside)
        kept_s += span.end_s - span.start_s - covered_s
        is_beside = is_beside or covered_s > 1  # more than the rounding
        spans.append(span)
    return kept_s, is_beside


def _span(trial: TrialOutcome) -> _Span:
    try:
        start = datetime.fromisoformat(trial.started_at.replace("Z", "+00:00"))
    except ValueError:
        raise ResultsError(
            f"expected a time as the start of {trial.order.id}, found {trial.started_at!r}",
            where=trial.order.sweep,
        ) from None
    start_s = exact(start.timestamp())
    # Without a placement, as in the oldest results, a trial ran on this machine alone.
    hosts = frozenset(trial.placement.values()) or frozenset({""})
    return _Span(start_s, start_s + exact(trial.duration_s), hosts)


def _covered(parts: list[tuple[Decimal, Decimal]]) -> Decimal:
    """Return the length of the union of intervals."""
    total_s, end_s = Decimal(0), None
    for start_s, stop_s in sorted(parts):
        begin_s = start_s if end_s is None else max(start_s, end_s)
        total_s += max(stop_s - begin_s, Decimal(0))
        end_s = stop_s if end_s is None else max(end_s, stop_s)
    return total_s
