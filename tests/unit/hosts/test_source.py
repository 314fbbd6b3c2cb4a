"""Which hosts a cluster is launched on, and that nothing stays of one that will not be."""

from __future__ import annotations

import queue
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from dnnbench.data import catalogue
from dnnbench.errors import HostError
from dnnbench.hosts.agents import source as crew
from dnnbench.hosts.agents.clusters import Started
from dnnbench.hosts.parallel import each
from dnnbench.hosts.provision.preflight import Preflight
from dnnbench.settings.load import load
from dnnbench.sweep.placement import Host
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.sweep.agents import Crew

WANTED: Any = SimpleNamespace(wheel=SimpleNamespace(digest="new"))


class ConnectedHosts:
    """Hosts that all let us in."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.hosts: list[Host] = []
        self.tools: dict[str, Any] = {}
        self.missing: dict[str, HostError] = {}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def open(self, names: Iterable[str]) -> None:
        for name in names:
            self.hosts.append(Host(name, "10.0.0.1", self._slots))
            self.tools[name] = SimpleNamespace(host=name)

    def each(self, do: Any, names: Iterable[str] | None = None) -> dict[str, Any]:
        asked = list(self.tools if names is None else names)
        found = each(asked, lambda name: do(self.tools[name]))
        self.drop({name: got for name, got in found.items() if isinstance(got, HostError)})
        return {name: got for name, got in found.items() if not isinstance(got, HostError)}

    def drop(self, failures: dict[str, HostError]) -> None:
        self.missing |= failures
        self.hosts = [host for host in self.hosts if host.name not in failures]
        for name in failures:
            self.tools.pop(name)


class Hosts:
    """Five hosts as a crew sees them, without a connection.

    Attributes:
        started: (cluster, host) of what has been started and not ended.
        taken: hosts on which nothing can be started.
        ports: host -> how many it was asked to hold.
        slots: of each host.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: set[tuple[str, str]] = set()
        self.taken: set[str] = set()
        self.ports: dict[str, int] = {}
        self.slots = 1
        fakes = {
            "ConnectedHosts": lambda _config: ConnectedHosts(self.slots),
            "facts_of": lambda *_: SimpleNamespace(
                warnings=lambda *_: [], addresses=[], host_id=None
            ),
            "refuse_unprovisioned": lambda *_: None,
            "parts_of": lambda _tools: ([], []),
            "try_pairs": lambda *_, **__: Preflight([], {}),
            "start_keeper": self._start_keeper,
            "end_part": self._end_part,
            "KeptAgent": lambda name, *_, **__: SimpleNamespace(host=name),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(crew, name, fake)

    def _start_keeper(self, tools: Any, *_: object, cluster: str, ports: int, **__: Any) -> Started:
        if tools.host in self.taken:
            raise HostError("is taken by bob", where=tools.host)
        self.started.add((cluster, tools.host))
        self.ports[tools.host] = ports
        return Started(list(range(ports)), "socket")

    def _end_part(self, tools: Any, cluster: str, **_: object) -> None:
        self.started.discard((cluster, tools.host))

    def start(self, needed: int, lease_s: float | None = None) -> Crew:
        data = DataSpec(catalogue.SYNTHETIC, None, catalogue.SYNTHETIC_DIGEST)
        settings = load(None, {}, {}).config
        source = crew.SshAgents(settings, data, WANTED, "test", print, lease_s=lease_s)
        hosts = [Host(f"node{number}", "10.0.0.1", self.slots) for number in range(1, 6)]
        return source.start(hosts, needed, queue.SimpleQueue(), Path(), print)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    return Hosts(monkeypatch)


@pytest.mark.parametrize("lease_s", [None, 60.0])
def test_others_stand_in_for_hosts_that_are_taken_in_one_cluster(
    hosts: Hosts, lease_s: float | None
) -> None:
    hosts.taken = {"node1", "node4"}
    found = hosts.start(3, lease_s)
    assert [host.name for host in found.hosts] == ["node2", "node3", "node5"]
    assert list(found.missing) == ["node1", "node4"]
    (cluster,) = {cluster for cluster, _ in hosts.started}
    assert hosts.started == {(cluster, host.name) for host in found.hosts}


def test_what_fits_is_started_where_nobody_can_stand_in(hosts: Hosts) -> None:
    hosts.taken = {"node1", "node2", "node3"}
    assert [host.name for host in hosts.start(3).hosts] == ["node4", "node5"]
    hosts.taken = {f"node{number}" for number in range(1, 6)}
    with pytest.raises(HostError, match="node1: is taken by bob; also missing: node2"):
        hosts.start(3)


@pytest.mark.parametrize("lease_s", [None, 60.0])
def test_nothing_stays_of_a_start_that_is_interrupted(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, lease_s: float | None
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert len(hosts.started) == 3
        raise KeyboardInterrupt

    monkeypatch.setattr(crew, "KeptAgent", interrupt)
    with pytest.raises(KeyboardInterrupt):
        hosts.start(3, lease_s)
    assert hosts.started == set()


def test_a_start_that_is_under_way_when_ctrl_c_is_pressed_is_ended_when_it_is_over(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = threading.Event()
    start, end = hosts._start_keeper, hosts._end_part

    def start_slowly(tools: Any, *given: object, **named: Any) -> Started:
        if tools.host == "node1":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert ending.wait(5.0)
        return start(tools, *given, **named)

    def end_part(tools: Any, cluster: str, **named: object) -> None:
        end(tools, cluster, **named)
        ending.set()

    monkeypatch.setattr(crew, "start_keeper", start_slowly)
    monkeypatch.setattr(crew, "end_part", end_part)
    with pytest.raises(KeyboardInterrupt):
        hosts.start(3)
    assert "node1" in hosts.ports
    assert hosts.started == set()


def test_each_host_holds_a_port_for_every_slot_that_a_trial_may_fill(hosts: Hosts) -> None:
    hosts.slots = 2
    assert [host.slots for host in hosts.start(3).hosts] == [2, 2]
    assert hosts.ports == {"node1": 2, "node2": 2}
