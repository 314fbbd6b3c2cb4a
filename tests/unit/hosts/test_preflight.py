"""Which hosts hold what, and which of them a sweep does without."""

from __future__ import annotations

import json
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from dnnbench.hosts.provision.preflight import (
    Pair,
    hindrances,
    hindrances_among,
    holders,
    try_pairs,
)
from dnnbench.settings.schema import SweepConfig
from dnnbench.sweep.placement import Host


def pairs(workers: str, *cut: str, servers: str = "a") -> list[Pair]:
    """Return every connection; ``ab`` is cut if a cannot connect to b."""
    found = []
    for worker in workers:
        for server in servers:
            for source, target in ((worker, server), (server, worker)):
                problem = "no answer" if source + target in cut else None
                found.append(Pair(source, target, problem=problem))
    return found


@pytest.mark.parametrize(
    ("cut", "hindering"),
    [
        ((), set()),
        (("ca",), {"c"}),  # each worker is on its own
        (("ac", "da"), {"c", "d"}),
        (("ba", "ca", "da"), {"a"}),  # nobody gets in
        (("ab", "ca", "ad"), {"a"}),
    ],
)
def test_who_hinders_is_left_out_be_it_the_parameter_server(
    cut: tuple[str, ...], hindering: set[str]
) -> None:
    assert hindrances(pairs("bcd", *cut), ["a"]).keys() == hindering


def test_of_two_hosts_the_worker_is_left_out() -> None:
    (error,) = hindrances(pairs("b", "ab"), ["a"]).values()
    assert (error.problem, error.where) == ("a no answer", "b")


def test_of_two_parameter_servers_the_one_that_nobody_reaches_is_left_out() -> None:
    assert hindrances(pairs("cd", "cb", "db", servers="ab"), ["a", "b"]).keys() == {"b"}


@pytest.mark.parametrize(
    ("slots", "servers", "expected"),
    [
        (1, 1, (["a"], ["b", "c"])),
        (1, 2, (["a", "b"], ["c"])),
        (2, 1, (["a"], ["a", "b", "c"])),
        (2, 2, (["a"], ["b", "c"])),
        (2, 3, (["a", "b"], ["b", "c"])),
    ],
)
def test_hosts_are_filled_to_their_slots_with_parameter_servers_first(
    slots: int, servers: int, expected: tuple[list[str], list[str]]
) -> None:
    hosts = [Host(name, "10.0.0.1", slots) for name in "abc"]
    assert holders(hosts, servers) == expected


@pytest.mark.parametrize(
    ("cut", "dropped"),
    [
        ((), set()),
        (("cb",), {"c"}),  # of two alike, the later one
        (("ba", "bc", "db"), {"b"}),  # nobody gets on with it
        (("ab", "cd"), {"b", "d"}),
        (("ab", "bc", "cd"), {"c", "b"}),
    ],
)
def test_where_workers_exchange_with_each_other_those_that_are_left_all_do(
    cut: tuple[str, ...], dropped: set[str]
) -> None:
    tried = [
        Pair(source, target, problem="no answer" if source + target in cut else None)
        for source, target in permutations("abcd", 2)
    ]
    found = hindrances_among(tried, list("abcd"))
    assert found.keys() == dropped
    assert all(error.where == name for name, error in found.items())
    left = set("abcd") - dropped
    assert not any(left.issuperset(pair) for pair in cut)


class Net:
    """Hosts whose probes reach whatever they are asked to.

    Attributes:
        tried: (source, target) -> bytes to measure the bandwidth with.
    """

    def __init__(self, hosts: str, slots: int | None = 1, unknown: str = "") -> None:
        self.tried: dict[tuple[str, str], int] = {}
        self.unknown = unknown  # to each other and to themselves
        self.hosts = [Host(name, f"10.0.0.{n}", slots) for n, name in enumerate(hosts)]
        self.tools: Any = {
            name: SimpleNamespace(open=lambda _tool, name=name: _Probe(name, self))
            for name in hosts
        }


class _Probe:
    errors = ""

    def __init__(self, host: str, net: Net) -> None:
        self.host = host
        self._net = net
        self._answers: list[bytes] = []

    def write(self, line: bytes) -> None:
        request = json.loads(line)
        if "listen" in request:
            self._answers.append(b'{"port":4711}\n')
        for target in request.get("connect", []):
            assert (self.host, target["name"]) not in self._net.tried, "twice"
            self._net.tried[self.host, target["name"]] = target["bytes"]
            answer: dict[str, Any] = {"name": target["name"], "round_trip_ms": 1.0}
            if target["name"] in self._net.unknown:
                answer = {"name": target["name"], "problem": "Name or service not known"}
            self._answers.append(json.dumps(answer).encode() + b"\n")

    def read_line(self, _timeout_s: float) -> bytes:
        return self._answers.pop(0)

    def close(self) -> None:
        pass


STAR = {("b", "a"), ("c", "a"), ("a", "b"), ("a", "c")}


@pytest.mark.parametrize(
    ("servers", "among_workers", "tried", "measured"),
    [
        (1, False, STAR, {("b", "a"), ("c", "a")}),
        (1, True, {*permutations("abc", 2)}, {("b", "a"), ("c", "a")}),
        (0, True, {*permutations("abc", 2)}, {("a", "b"), ("b", "c"), ("c", "a")}),
    ],
    ids=["servers", "both", "workers"],
)
def test_connections_are_tried_once_each_as_far_as_trials_need_them(
    servers: int,
    among_workers: bool,
    tried: set[tuple[str, str]],
    measured: set[tuple[str, str]],
) -> None:
    net = Net("abc")
    preflight = try_pairs(
        net.tools, net.hosts, servers, "4000-4999", among_workers=among_workers, bandwidth=True
    )
    assert preflight.failures == {}
    assert {(pair.source, pair.target) for pair in preflight.pairs} == tried == net.tried.keys()
    assert {pair for pair, size in net.tried.items() if size} == measured


@pytest.mark.parametrize("among_workers", [False, True])
def test_a_host_of_several_tasks_connects_to_itself_where_two_of_them_do(
    among_workers: bool,
) -> None:
    net = Net("ab", slots=2)
    preflight = try_pairs(
        net.tools, net.hosts, 1, "4000-4999", among_workers=among_workers, bandwidth=True
    )
    own = {("a", "a"), ("b", "b")} if among_workers else {("a", "a")}
    assert net.tried.keys() == {*permutations("ab", 2), *own}
    assert all(not net.tried[pair] for pair in own)
    assert hindrances(preflight.pairs, ["a"]) == {}


def test_a_host_that_does_not_know_its_own_address_is_left_out_with_a_remedy() -> None:
    net = Net("a", slots=None, unknown="a")
    pairs, _ = try_pairs(net.tools, net.hosts, 1, "4000-4999", bandwidth=False)
    for found in (hindrances(pairs, ["a"]), hindrances_among(pairs, ["a"])):
        assert {name: str(error) for name, error in found.items()} == {
            "a": "a: cannot reach itself at 10.0.0.0: Name or service not known; set its "
            "data_address to an address that it has"
        }


def test_a_name_that_other_hosts_do_not_know_is_found_before_the_start() -> None:
    net = Net("abc", unknown="c")
    pairs, _ = try_pairs(net.tools, net.hosts, 1, "4000-4999", bandwidth=False)
    (error,) = hindrances(pairs, ["a"]).values()
    assert error.where == "c"
    assert "a cannot reach c at 10.0.0.2: Name or service not known" in str(error)
    assert "set data_address of c" in str(error)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"protocols": ("downpour",)}, False),
        ({"protocols": ("downpour", "all-reduce")}, True),
        ({"protocols": ("downpour",), "parallel": 2}, True),  # servers on any of the hosts
    ],
)
def test_all_hosts_connect_if_workers_or_trials_side_by_side_need_it(
    settings: dict[str, Any], expected: bool
) -> None:
    assert SweepConfig(**settings).connects_all_hosts == expected
