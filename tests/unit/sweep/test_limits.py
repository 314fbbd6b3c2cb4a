"""Limits of a run: a trial that would end past one is not started."""

from __future__ import annotations

import pytest
from support.factories import make_order, make_outcome

from dnnbench.errors import LimitError
from dnnbench.sweep.limits import Limit, Limits


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the clock of the limits: its one entry is the time, in seconds."""
    now = [100.0]
    monkeypatch.setattr("dnnbench.sweep.limits.time.monotonic", lambda: now[0])
    return now


def a_minute(estimated_s: dict[str, float]) -> Limits:
    return Limits([Limit("--max-hours 0.0167", lambda end_s: end_s > 60)], estimated_s)


def test_a_trial_runs_up_to_the_limit_and_not_past_it(clock: list[float]) -> None:
    order = make_order()
    limits = a_minute({order.id: 20.0})
    clock[0] += 40.0
    limits.check(order, [])
    clock[0] += 1.0
    with pytest.raises(LimitError) as refused:
        limits.check(order, [])
    assert str(refused.value) == (
        f"{order.id}: not started, as it would end past --max-hours 0.0167: 41 s have passed, and "
        "it is expected to take 20 s; run the rest with `dnnbench run --resume`, which may have "
        "limits of its own"
    )
    assert refused.value.exit_code == 6


def test_what_trials_of_the_cell_took_counts_more_than_the_estimate(clock: list[float]) -> None:
    order, other = make_order(repeat=3), make_order(8)
    ended = [make_outcome(make_order(repeat=r), duration_s=s) for r, s in ((1, 10.0), (2, 30.0))]
    limits = a_minute({order.id: 1.0, other.id: 1.0})
    clock[0] += 40.0
    limits.check(order, ended)
    clock[0] += 0.5
    limits.check(other, ended)
    with pytest.raises(LimitError, match="expected to take 20 s"):
        limits.check(order, ended)


def test_a_trial_of_which_nothing_is_known_is_started_until_the_time_is_up(
    clock: list[float],
) -> None:
    limits = a_minute({})
    for now in (100.0, 160.0):
        clock[0] = now
        limits.check(make_order(), [])
    clock[0] = 161.0
    with pytest.raises(LimitError):
        limits.check(make_order(), [])


def test_without_limits_nothing_is_refused(clock: list[float]) -> None:
    limits = Limits([], {})
    clock[0] += 1e9
    limits.check(make_order(), [])
