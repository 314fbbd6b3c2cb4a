"""Hosts that a cluster is launched on, and the end of one that was launched in vain."""

from __future__ import annotations

import signal
import threading
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.agents import launching, source
from dnnbench.hosts.agents.clusters import Started
from dnnbench.hosts.parallel import each
from dnnbench.hosts.provision.preflight import Pair, Preflight
from dnnbench.settings.load import load
from dnnbench.sweep.placement import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from dnnbench.hosts.agents.launching import Cluster
    from dnnbench.sweep.agents import Agents

WANTED: Any = SimpleNamespace(wheel=SimpleNamespace(digest="new"), data_directory=None)


class ConnectedHosts:
    """Hosts that all let us in."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.hosts: list[Host] = []
        self.tools: dict[str, Any] = {}
        self.missing: dict[str, HostError] = {}
        self.is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.is_closed = True

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
    """Five hosts as a source of agents sees them, without a connection.

    Attributes:
        started: (cluster, host) of what has been started and not ended.
        taken: hosts on which nothing can be started.
        ports: host -> how many it was asked to hold.
        slots: of each host.
        connected: every set of connections made.
        parted: (host, how) of agents that were closed or left.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: set[tuple[str, str]] = set()
        self.taken: set[str] = set()
        self.ports: dict[str, int] = {}
        self.slots = 1
        self.connected: list[ConnectedHosts] = []
        self.parted: set[tuple[str, str]] = set()
        fakes = {
            "facts_of": lambda *_: SimpleNamespace(
                warnings=lambda *_: [], addresses=[], host_id=None
            ),
            "refuse_unprovisioned": lambda *_: None,
            "parts_of": lambda _tools: ([], []),
            "try_pairs": lambda *_, **__: Preflight([], {}),
            "start_keeper": self._start_keeper,
            "end_part": self._end_part,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(launching, name, fake)
        monkeypatch.setattr(source, "ConnectedHosts", lambda _config: self.connect())
        monkeypatch.setattr(source, "KeptAgent", self._attach)

    def _start_keeper(self, tools: Any, *_: object, cluster: str, ports: int, **__: Any) -> Started:
        if tools.host in self.taken:
            raise HostError("is taken by bob", where=tools.host)
        self.started.add((cluster, tools.host))
        self.ports[tools.host] = ports
        return Started(list(range(ports)), "socket")

    def _end_part(self, tools: Any, cluster: str, **_: object) -> None:
        self.started.discard((cluster, tools.host))

    def _attach(self, name: str, *_: object, **__: object) -> Any:
        def part(how: str) -> Callable[[], None]:
            return lambda: self.parted.add((name, how))

        return SimpleNamespace(host=name, ports=[1], close=part("close"), leave=part("leave"))

    def connect(self) -> ConnectedHosts:
        self.connected.append(ConnectedHosts(self.slots))
        return self.connected[-1]

    @property
    def listed(self) -> list[Host]:
        return [Host(f"node{number}", "10.0.0.1", self.slots) for number in range(1, 6)]

    def launch(
        self, needed: int, lease_s: float | None = None, protocols: str = "downpour"
    ) -> Cluster:
        config = load(None, {}, {"sweep.protocols": protocols}).config
        request = launching.Request(config, WANTED, "test", needed, print, print, lease_s)
        connected: Any = self.connect()
        return launching.find_or_launch(connected, self.listed, request)

    def start(self, needed: int) -> Agents:
        config = load(None, {}, {}).config
        found = source.HostAgents(config, WANTED, "test", print)
        return found.start(self.listed, needed, Path(), print)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    return Hosts(monkeypatch)


@pytest.mark.parametrize("lease_s", [None, 60.0])
def test_others_stand_in_for_hosts_that_are_taken_in_one_cluster(
    hosts: Hosts, lease_s: float | None
) -> None:
    hosts.taken = {"node1", "node4"}
    found = hosts.launch(3, lease_s)
    assert [host.name for host in found.hosts] == ["node2", "node3", "node5"]
    assert list(found.connected.missing) == ["node1", "node4"]
    (cluster,) = {cluster for cluster, _ in hosts.started}
    assert hosts.started == {(cluster, host.name) for host in found.hosts}


def test_what_fits_is_started_where_nobody_can_stand_in(hosts: Hosts) -> None:
    hosts.taken = {"node1", "node2", "node3"}
    assert [host.name for host in hosts.start(3).hosts] == ["node4", "node5"]
    hosts.taken = {f"node{number}" for number in range(1, 6)}
    with pytest.raises(HostError, match="node1: is taken by bob; also missing: node2"):
        hosts.start(3)
    assert hosts.connected[-1].is_closed


def test_a_cluster_with_a_lease_is_launched_as_a_whole_or_not_at_all(hosts: Hosts) -> None:
    hosts.taken = {"node1", "node2", "node3"}
    found = hosts.launch(3, 60.0)
    assert (found.hosts, hosts.started) == ([], set())
    assert list(found.connected.missing) == ["node1", "node2", "node3"]


def test_closing_the_agents_of_an_own_cluster_ends_them_and_the_connections(hosts: Hosts) -> None:
    agents = hosts.start(2)
    assert not hosts.connected[-1].is_closed
    agents.close()
    agents.close()
    assert hosts.parted == {("node1", "close"), ("node2", "close")}
    assert hosts.connected[-1].is_closed


def test_a_cluster_that_is_kept_is_left_when_its_agents_are_closed(hosts: Hosts) -> None:
    request = launching.Request(load(None, {}, {}).config, WANTED, "test", 2, print, print, 60.0)
    cluster = hosts.launch(2, 60.0)
    with source.attach(cluster, request, is_kept=True) as agents:
        assert [host.name for host in agents.hosts] == ["node1", "node2"]
    assert hosts.parted == {("node1", "leave"), ("node2", "leave")}
    assert len(hosts.started) == 2
    cluster.end()
    assert hosts.started == set()


def test_nothing_stays_of_a_start_that_is_interrupted(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert len(hosts.started) == 3
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "KeptAgent", interrupt)
    with pytest.raises(KeyboardInterrupt):
        hosts.start(3)
    assert hosts.started == set()
    assert hosts.connected[-1].is_closed


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

    monkeypatch.setattr(launching, "start_keeper", start_slowly)
    monkeypatch.setattr(launching, "end_part", end_part)
    with pytest.raises(KeyboardInterrupt):
        hosts.start(3)
    assert "node1" in hosts.ports
    assert hosts.started == set()


def test_each_host_holds_a_port_for_every_slot_that_a_trial_may_fill(hosts: Hosts) -> None:
    hosts.slots = 2
    assert [host.slots for host in hosts.start(3).hosts] == [2, 2]
    assert hosts.ports == {"node1": 2, "node2": 2}


@pytest.mark.parametrize(
    ("protocols", "left_out"),
    [("downpour", set()), ("sequential,downpour", set()), ("downpour,all-reduce", {"node3"})],
)
def test_hosts_of_workers_that_exchange_with_each_other_are_replaced_if_two_of_them_cannot(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, protocols: str, left_out: set[str]
) -> None:
    def try_pairs(_tools: object, tried: list[Host], *_: object, **named: bool) -> Preflight:
        names = [host.name for host in tried]
        ways = [way for way in permutations(names, 2) if named["among_workers"] or names[0] in way]
        cut = ("node3", "node2")
        return Preflight([Pair(*way, problem="no" if way == cut else None) for way in ways], {})

    monkeypatch.setattr(launching, "try_pairs", try_pairs)
    found = hosts.launch(3, protocols=protocols)
    assert found.connected.missing.keys() == left_out
    expected = [f"node{n}" for n in range(1, 6) if f"node{n}" not in left_out]
    assert [host.name for host in found.hosts] == expected[:3]
