"""Which hosts hold what, and which of them a sweep does without."""

from __future__ import annotations

import pytest

from dnnbench.hosts.provision.preflight import Pair, hindrances, holders
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
