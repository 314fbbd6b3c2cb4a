"""Durations of trials in earlier sweeps, for the estimate of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.errors import ResultsError
from dnnbench.kernel import usable_cores
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.settings.schema import Config
    from dnnbench.trial.spec import CellKey


def measured_trial_s(results_dir: Path, config: Config) -> dict[CellKey, float]:
    """Return cell -> mean seconds of a trial in the newest sweep, if its conditions were equal."""
    measured = measured_trials_s(results_dir, config)
    return {cell: sum(found) / len(found) for cell, found in measured.items()}


def measured_trials_s(results_dir: Path, config: Config) -> dict[CellKey, list[float]]:
    """Return cell -> seconds of each trial in the newest sweep, if its conditions were equal."""
    durations_s: dict[CellKey, list[float]] = {}
    try:
        previous = open_sweep(results_dir)
        is_alike = _conditions(previous.resolved.config) == _conditions(config)
        same_cores = usable_cores() in [s.before.cores_usable for s in previous.sessions()[-1:]]
        outcomes = previous.outcomes() if is_alike and same_cores else []
    except ResultsError:  # a damaged old sweep must not stop a new one
        return {}
    for outcome in outcomes:
        if outcome.status == "ok":
            durations_s.setdefault(outcome.order.cell, []).append(outcome.duration_s)
    return durations_s


def _conditions(config: Config) -> tuple[object, ...]:
    """Return the settings that a trial's duration depends on."""
    return (
        config.train,
        config.protocol,
        config.varied,
        config.sweep.parameter_servers,
        config.hosts,
    )
