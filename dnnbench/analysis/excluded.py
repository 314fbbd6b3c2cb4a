"""Outcomes that no average has: trials that did not succeed, attempts that were repeated."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from dnnbench.errors import CauseKind
from dnnbench.trial.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dnnbench.analysis.trial_figures import TrialFigures
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import CellKey


class NotCounted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An outcome that is excluded from the averages.

    Attributes:
        cause: in one line.
        repeated: whether a later attempt at the same trial succeeded and is counted.
        kind: of the cause; of the first loss, if the trial lost roles.
    """

    id: str
    status: Status
    cause: str
    task: str | None
    host: str | None
    repeated: bool
    kind: CauseKind | None = None


def by_status(excluded: Iterable[NotCounted]) -> str:
    """Count the trials that no average has, such as ``2 diverged, 1 failed``; empty if none."""
    counts = Counter(one.status for one in excluded if not one.repeated)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def not_counted(
    outcome: TrialOutcome, trials: Mapping[CellKey, Mapping[int, TrialFigures]]
) -> NotCounted:
    """Describe an outcome that no average has.

    Args:
        outcome: one that is not ``ok``.
        trials: those that are counted: cell -> repeat -> figures.
    """
    spec, failure = outcome.order, outcome.failure
    cause = " ".join(failure.cause.split()) if failure else str(outcome.divergence or "")
    if outcome.status == "degraded":
        cause = _what_is_left(outcome)
    return NotCounted(
        id=spec.id,
        status=outcome.status,
        cause=cause or outcome.status,
        task=failure.task if failure else None,
        host=failure.host if failure else None,
        repeated=spec.repeat in trials[spec.cell],
        kind=failure.kind if failure else next((loss.kind for loss in outcome.losses), None),
    )


def _what_is_left(outcome: TrialOutcome) -> str:
    """Describe a trial that went on after a loss, with the figures that no average has."""
    lost = "; ".join(map(str, outcome.losses))
    seconds = [record.duration_s for record in outcome.epochs]
    figures = [f"{sum(seconds) / len(seconds):.3g} s per epoch"] if seconds else []
    final = [e.test_accuracy for e in outcome.evaluations if e.epoch is None]
    figures += [f"test accuracy {accuracy:.2%}" for accuracy in final]
    return f"lost {lost} ({', '.join(figures) or 'no figures'})"


def attempts(earlier: Iterable[TrialOutcome], outcomes: Iterable[TrialOutcome]) -> dict[str, int]:
    """Return trial -> how often it was begun, of those begun more than once."""
    begun = Counter(o.order.id for o in [*earlier, *outcomes] if o.status != "not run")
    return {name: count for name, count in sorted(begun.items()) if count > 1}
