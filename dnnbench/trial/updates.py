"""The bound on the updates of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from dnnbench.trial.spec import TrialSpec

MOST_UPDATES: Final = 2**24
"""Updates of a shard that a trial may have: they are counted in a float32, exact up to here."""


def check_updates(spec: TrialSpec, training_examples: int) -> None:
    """Refuse a trial whose updates could not be counted exactly.

    Raises:
        ConfigError: they are more than `MOST_UPDATES`.
    """
    updates = spec.updates(training_examples)
    if updates > MOST_UPDATES:
        raise ConfigError(
            f"expected at most {MOST_UPDATES:,} updates in a trial, up to which a float32 counts "
            f"them exactly, got {updates:,} of {spec.workers} workers in {spec.id}",
            where="[train] epochs, batch_size",
            remedy="use fewer epochs or a larger batch",
        )
