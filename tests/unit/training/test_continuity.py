"""Parameters that were initialized afresh are noticed by the updates that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from dnnbench.errors import TrialError
from dnnbench.training.roles.continuity import Continuity
from dnnbench.training.roles.steps import EpochTotals


def pulled(*counts: int) -> object:
    """Return two shards, of 2 and 1 parameters, with their counts."""
    first, second = counts
    return np.array([0.5, 0.5, first, 0.5, second], np.float32)


@pytest.mark.parametrize(
    ("counts", "pushed", "shard", "words"),
    [
        ((150, 150), 50, None, ""),
        ((100, 900), 0, None, ""),
        ((149, 150), 50, 0, "expected 150 updates or more, found 149"),
        ((150, 0), 50, 1, "expected 150 updates or more, found 0"),
    ],
)
def test_a_shard_never_holds_fewer_updates_than_before_and_the_workers_own(
    counts: tuple[int, int], pushed: int, shard: int | None, words: str
) -> None:
    continuity = Continuity([2, 1], counts_pushes=True)
    continuity.check(pulled(100, 100), 80)
    if shard is None:
        continuity.check(pulled(*counts), 80 + pushed)
        return
    with pytest.raises(TrialError, match="initialized afresh") as caught:
        continuity.check(pulled(*counts), 80 + pushed)
    assert caught.value.where == f"ps:{shard}"
    assert words in caught.value.problem


def test_where_several_pushes_make_an_update_only_the_count_itself_is_compared() -> None:
    continuity = Continuity([2, 1], counts_pushes=False)
    continuity.check(pulled(100, 100), 100)
    continuity.check(pulled(101, 101), 200)
    with pytest.raises(TrialError, match="expected 101 updates or more, found 100"):
        continuity.check(pulled(101, 100), 300)


def test_an_update_before_the_pull_that_it_was_computed_from_names_the_shard() -> None:
    staleness = np.array([[0, 0], [1, -40]], np.int64)
    with pytest.raises(TrialError, match="initialized afresh") as caught:
        EpochTotals().add(np.zeros(2), staleness, None)
    assert caught.value.where == "ps:1"
