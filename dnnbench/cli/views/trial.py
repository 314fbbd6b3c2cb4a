"""A trial and its outcome in words, for the views of a running sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.text.words import duration_text, seconds
from dnnbench.trial.variation import in_words

if TYPE_CHECKING:
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

_LOG_LINES = 5


def setting_text(order: TrialSpec) -> str:
    """Describe a trial in a few words."""
    servers, workers = order.parameter_servers, order.workers
    variation = order.cell.variation
    setting = f", {in_words(variation)}" if variation else ""
    return (
        f"{order.protocol.name}, {order.nodes} nodes "
        f"({servers} ps + {workers} worker{'s'[: workers != 1]}){setting}, repeat {order.repeat}"
    )


def outcome_lines(outcome: TrialOutcome) -> list[str]:
    """Describe an outcome: its figures, or its failure with the last lines of the log."""
    if outcome.status == "not run":
        return [f"not run: {outcome.failure}"]
    took = duration_text(outcome.duration_s)
    if outcome.divergence is not None:
        return [f"diverged after {took}: {outcome.divergence}"]
    if outcome.status not in ("ok", "degraded"):
        failure = outcome.failure
        if failure is None:
            return [f"{outcome.status} after {took}"]
        headline = f"{outcome.status} after {took}: {failure}"
        return [headline, *(f"  | {line}" for line in failure.log_tail[-_LOG_LINES:])]
    parts = [f"{outcome.status} in {took}"]
    if outcome.epochs:
        mean_s = sum(record.duration_s for record in outcome.epochs) / len(outcome.epochs)
        paced = " (paced)" if outcome.order.pace_ms else ""
        parts.append(f"{seconds(mean_s / outcome.order.passes_per_epoch)} s/epoch{paced}")
    if outcome.evaluations:
        parts.append(f"test accuracy {outcome.evaluations[-1].test_accuracy:.2%}")
    return [", ".join(parts), *(f"  | lost {lost}" for lost in outcome.losses)]
