"""Notice that a shard was initialized afresh: the updates that it holds have become fewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dnnbench.errors import TrialError
from dnnbench.trial.tasks import PARAMETER_SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

_AFRESH: Final = "its parameters were initialized afresh during the trial"


def afresh(
    shard: int, found: str = "it holds fewer updates than a worker had pulled"
) -> TrialError:
    """Return the error for a shard that lost updates."""
    return TrialError(f"{found}: {_AFRESH}", where=f"{PARAMETER_SERVER}:{shard}")


class Continuity:
    """Follows the counts of updates in all shards, as one worker sees them.

    Args:
        shard_sizes: parameters by shard.
        counts_pushes: whether each push of this worker is an update by itself.
    """

    def __init__(self, shard_sizes: Sequence[int], *, counts_pushes: bool) -> None:
        self._counted_at = np.cumsum([size + 1 for size in shard_sizes]) - 1
        self._counts_pushes = counts_pushes
        self._least = np.zeros(len(shard_sizes))
        self._pushed = 0

    def check(self, parameters: Any, pushed: int) -> None:
        """Compare the counts with those of the time before.

        Args:
            parameters: of all shards with their counts, [all].
            pushed: by this worker, so far.

        Raises:
            TrialError: a shard holds fewer updates than it held and got since.
        """
        counts = np.asarray(parameters[self._counted_at], np.float64)
        own = pushed - self._pushed if self._counts_pushes else 0
        for shard, (count, least) in enumerate(zip(counts, self._least + own, strict=True)):
            if count < least:
                found = f"expected {least:,.0f} updates or more, found {count:,.0f}"
                raise afresh(shard, found)
        self._least, self._pushed = counts, pushed
