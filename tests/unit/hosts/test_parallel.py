from __future__ import annotations

import os
import signal
import threading

import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.parallel import each


def test_each_host_has_its_outcome_in_the_order_given() -> None:
    later = threading.Event()

    def do(name: str) -> str:
        if name == "b":
            later.set()
            raise HostError("is down", where=name)
        assert later.wait(5.0)  # so the first to be asked is not the first to answer
        return name.upper()

    outcomes = each(["a", "b", "c"], do)
    assert list(outcomes) == ["a", "b", "c"]
    assert (outcomes["a"], str(outcomes["b"]), outcomes["c"]) == ("A", "b: is down", "C")
    assert each([], do) == {}


def test_as_many_calls_as_wanted_run_at_once_and_no_more() -> None:
    running = threading.Semaphore(3)
    together = threading.Barrier(3)

    def do(_: str) -> bool:
        free = running.acquire(blocking=False)
        together.wait(5.0)
        if free:
            running.release()
        together.wait(5.0)
        return free

    outcomes = each([str(number) for number in range(12)], do, at_once=3)
    assert all(outcome is True for outcome in outcomes.values())


def test_a_bug_is_raised_once_all_have_ended() -> None:
    ended: list[str] = []
    gate = threading.Barrier(2)

    def do(name: str) -> None:
        gate.wait(5.0)
        if name == "a":
            raise ZeroDivisionError
        ended.append(name)

    with pytest.raises(ZeroDivisionError):
        each(["a", "b"], do)
    assert ended == ["b"]


def test_an_interrupt_does_not_wait_for_a_host() -> None:
    release = threading.Event()
    begun: list[str] = []

    def do(name: str) -> None:
        begun.append(name)
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(30.0)

    with pytest.raises(KeyboardInterrupt):
        each(["a", "b"], do, at_once=1)
    assert begun == ["a"]
    release.set()
