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
    assert limits.admits(order)
    clock[0] += 1.0
    assert limits.refusal is None
    assert not limits.admits(order)
    assert str(limits.refusal) == (
        f"{order.id}: not started, as it would end past --max-hours 0.0167: 41 s have passed, and "
        "it is expected to take 20 s; run the rest with `dnnbench run --resume`, which may have "
        "limits of its own"
    )
    assert isinstance(limits.refusal, LimitError)
    assert limits.refusal.exit_code == 6


def test_after_one_refusal_no_trial_starts_however_short() -> None:
    long, short = make_order(8), make_order(4)
    limits = a_minute({long.id: 61.0, short.id: 1.0})
    assert not limits.admits(long)
    assert not limits.admits(short)
    assert limits.refusal is not None
    assert limits.refusal.where == long.id


def test_what_trials_of_the_cell_took_counts_more_than_the_estimate(clock: list[float]) -> None:
    order, other = make_order(repeat=3), make_order(8)
    limits = a_minute({order.id: 1.0, other.id: 1.0})
    for repeat, duration_s in ((1, 10.0), (2, 30.0)):
        limits.note(make_outcome(make_order(repeat=repeat), duration_s=duration_s))
    clock[0] += 40.0
    assert limits.admits(order)
    clock[0] += 0.5
    assert limits.admits(other)
    assert not limits.admits(order)
    assert "expected to take 20 s" in str(limits.refusal)


def test_a_trial_of_which_nothing_is_known_is_started_until_the_time_is_up(
    clock: list[float],
) -> None:
    limits = a_minute({})
    for now, admitted in ((100.0, True), (160.0, True), (161.0, False)):
        clock[0] = now
        assert limits.admits(make_order()) is admitted


def test_without_limits_every_trial_starts(clock: list[float]) -> None:
    limits = Limits([], {})
    clock[0] += 1e9
    assert limits.admits(make_order())
