from __future__ import annotations

import os
import re
import signal
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.connected import Fleet
from dnnbench.hosts.parallel import each
from dnnbench.hosts.ssh import connection as connection_module

if TYPE_CHECKING:
    from conftest import StartHosts


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(connection_module, "_FIRST_PAUSE_S", 0.01)


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


def test_twelve_hosts_are_opened_and_asked_together(start_hosts: StartHosts) -> None:
    hosts = start_hosts(12)
    with Fleet(hosts.configs, hosts.settings) as fleet:
        assert fleet.failures == {}
        answers = fleet.each(lambda connection: connection.run('printf %s "$HOME"').stdout)
        assert answers == {sshd.name: str(sshd.home).encode() for sshd in hosts.sshds}
        connections = list(fleet.connections.values())
    assert [connection.is_open for connection in connections] == [False] * 12


def test_hosts_that_cannot_be_reached_leave_the_others_unharmed(start_hosts: StartHosts) -> None:
    hosts = start_hosts(3)
    dead = hosts.sshds[1]
    dead.stop()
    configs = hosts.configs
    configs[2] = msgspec.structs.replace(configs[2], key="/nowhere", user="nobody-at-all")
    settings = msgspec.structs.replace(hosts.settings, tries=2)
    with Fleet(configs, settings) as fleet:
        assert list(fleet.connections) == ["node1"]
        assert list(fleet.failures) == ["node2", "node3"]
        assert re.match(
            r"node2: .* refuses connections \(2 tries\); ", str(fleet.failures["node2"])
        )
        assert fleet.connections["node1"].run("true").code == 0


def test_a_lost_connection_is_opened_anew(start_hosts: StartHosts) -> None:
    hosts = start_hosts(1)
    with Fleet(hosts.configs, hosts.settings) as fleet:
        first = fleet.connections["node1"]
        first.close()
        assert fleet.reopen("node1").run("echo again").stdout == b"again\n"
        assert fleet.connections["node1"] is not first
    assert not fleet.connections["node1"].is_open
