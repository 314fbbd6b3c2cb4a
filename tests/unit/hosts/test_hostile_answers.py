"""Hostile answers of a host's tools: each is taken as what it is, or refused with one line."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnnbench.cli import status, stop
from dnnbench.errors import HostError
from dnnbench.hosts.agents.clusters import end_part, parts_of, start_keeper
from dnnbench.hosts.agents.identity import this_process
from dnnbench.hosts.connectors.interface import Completed
from dnnbench.hosts.provision.facts import facts_of
from dnnbench.hosts.provision.preflight import try_pairs
from dnnbench.hosts.provision.steps import _install
from dnnbench.hosts.provision.tools import HostTools
from dnnbench.hosts.ssh.shell import refuse_unusable
from dnnbench.settings.schema import Config
from dnnbench.sweep.placement import Host
from dnnbench.text.screen import Screen
from dnnbench.text.tables import table_text

if TYPE_CHECKING:
    from collections.abc import Callable

WANTED: Any = SimpleNamespace(
    wheels=[], data=[], wheel=SimpleNamespace(digest="d"), package="packages/d", device="cpu"
)
FACTS: dict[str, Any] = {
    "directory": "/home/me/.dnnbench",
    "directory_id": "1",
    "hostname": "node1",
    "user": "me",
    "machine": "x86_64",
    "cpu_flags_missing": [],
    "cores": 4.0,
    "memory_bytes": 1 << 34,
    "disk_free_bytes": 10**11,
    "environments": [],
    "packages": [],
    "data": {},
    "pythons": [{"path": "/usr/bin/python3", "version": "3.11.2", "venv": True}],
    "ports_free": 1000,
    "ports_used": [23000],
    "addresses": ["127.0.0.1", "10.0.0.1"],
    "server_address": None,
    "clock_s": 1.7e9,
}
STATUS: dict[str, Any] = {
    "clusters": [
        {
            "cluster": "c1",
            "host": "node1",
            "owner": "me@here",
            "purpose": "launch",
            "since": 1.7e9,
            "pid": 7,
            "ports": [23000],
            "package": "d",
            "launcher": this_process(),
            "socket": "/s",
            "firewall": False,
            "attached": True,
            "controller": f"{this_process()} me@here 1",
            "doing": "trial",
            "lease_left_s": 12.0,
            "processes": 3,
        }
    ],
    "orphans": [{"cluster": "c2", "host": "node1", "pids": [8]}],
}
STOPPED = {"ended": 1, "left": [7], "ports_taken": [23000]}
STARTED = {"ports": [23000, 23001], "socket": "/s/agent.sock"}
ODD: st.SearchStrategy[Any] = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 1e18, 1e308, 2**63, 10**30, "x", "", " ", "y" * 5000, [], {}, "a/b/c"]),
    st.floats(),
    st.text(max_size=10),
    st.none(),
    st.booleans(),
    st.sampled_from([{"problem": "taken\n\x1b[0mby me"}, {"problem": 1}, "1.2.3.4.5", [[[]]]]),
    st.sampled_from([f"{this_process()}0", this_process().rpartition("/")[0] + "/x"]),
)


def mutated(answer: Any, draw: st.DrawFn) -> Any:
    """Return a copy of which one value, somewhere, is odd."""
    if isinstance(answer, dict) and answer and draw(st.integers(0, 9)):
        key = draw(st.sampled_from([*sorted(answer), "error"]))
        value = mutated(answer[key], draw) if key in answer else draw(ODD)
        return {**answer, key: value}
    if isinstance(answer, list) and answer and draw(st.integers(0, 9)):
        return [mutated(answer[0], draw), *answer[1:]]
    return draw(ODD)


class Connection:
    """Answers every command with the same text."""

    host = "node1"

    def __init__(self, text: bytes) -> None:
        self._text = text

    def run(self, line: str, *_: Any, **__: Any) -> Completed:
        del line
        return Completed(0, self._text, b"")

    def refuse_unusable(self) -> None:
        refuse_unusable(self)  # type: ignore[arg-type]


def tools_that_say(answer: Any) -> HostTools:
    text = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"
    return HostTools(Connection(text), Config())  # type: ignore[arg-type]


def look(tools: HostTools) -> None:
    found = facts_of(tools, Config(), WANTED)
    assert found.summary.isprintable()
    assert found.warnings("node1", Config()) is not None
    assert found.lacking(WANTED)


def show(tools: HostTools) -> None:
    parts, leftovers = parts_of(tools)
    for part in parts:
        assert part.is_idle in (True, False)
        assert part.is_abandoned in (True, False)
    table_text(status._parts({"node1": parts}), Screen(200))
    table_text(status._leftovers({"node1": leftovers}), Screen(200))


def end(tools: HostTools) -> None:
    ended = end_part(tools, "c1", force=True)
    assert stop._text({"node1": {"c1": ended}}, None)


def start(tools: HostTools) -> None:
    facts: Any = SimpleNamespace(directory="/d", machine="x86_64", ends_with_command=False)
    settings: dict[str, Any] = {"lease_s": 1.0, "ports": 2, "admitted": None}
    started = start_keeper(tools, facts, Config(), WANTED, cluster="c", purpose="p", **settings)
    assert all(0 < port < 65_536 for port in started.ports)
    assert len(started.socket) <= 1000


def install(tools: HostTools) -> None:
    _install(tools, package={})


ASKED: list[tuple[Callable[[HostTools], None], Any]] = [
    (look, FACTS),
    (show, STATUS),
    (end, STOPPED),
    (start, STARTED),
    (install, {"state": "failed", "problem": "no space\x1b[0m", "remedy": None}),
]


@st.composite
def questions(draw: st.DrawFn) -> tuple[Callable[[HostTools], None], Any]:
    ask, answer = draw(st.sampled_from(ASKED))
    return ask, mutated(answer, draw)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(questions())
def test_an_odd_answer_is_refused_with_one_line(
    question: tuple[Callable[[HostTools], None], Any],
) -> None:
    ask, answer = question
    error = None
    try:
        ask(tools_that_say(answer))
    except HostError as refused:
        error = refused
    if error is not None:
        assert error.where == "node1"
        assert str(error).isprintable()
        assert len(str(error)) < 5000


@pytest.mark.parametrize(("ask", "answer"), ASKED[:-1])
def test_an_honest_answer_is_taken(ask: Callable[[HostTools], None], answer: Any) -> None:
    ask(tools_that_say(answer))


@pytest.mark.parametrize(
    "text", [b"[1]\n", b'{"a":' * 100_000 + b"\n", b"\xff\n", b'{"error":7}\n', b'"x"\n']
)
def test_what_is_no_answer_is_refused_with_one_line(text: bytes) -> None:
    with pytest.raises(HostError) as caught:
        tools_that_say(text).call("facts")
    assert str(caught.value).isprintable()


class Probe:
    """A probe that listens, and then answers as it is told."""

    host = "node1"
    errors = ""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = [b'{"port":23000}\n', *answers]

    def write(self, data: bytes) -> None:
        pass

    def read_line(self, timeout_s: float) -> bytes:
        del timeout_s
        return self._answers.pop(0) if self._answers else b""

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b'{"name":"node9","round_trip_ms":1}\n', "did not try the requested hosts"),
        (b'{"name":"node9","problem":"refused"}\n', "tried an unknown host, 'node9'"),
        (
            b'{"name":"node1","round_trip_ms":-1}\n',
            "gave an unexpected answer: Expected `float` >= 0",
        ),
        (b'{"name":7}\n', "gave an unexpected answer: Expected `str`"),
        (b"{}\n", "gave an unexpected answer: Object missing required field `name`"),
        (b'{"error":[]}\n', "gave an unexpected answer: Expected `object`"),
        (b'{"error":{"problem":"a\\nb"}}\n', "a b"),
        (b"[" * 100_000, "expected an answer of the probe in JSON, found"),
        (b"\x1b[2J\n", "expected an answer of the probe in JSON, found"),
        (b"", "the probe ended"),
    ],
)
def test_a_hostile_probe_is_a_failure_of_its_host(answer: bytes, problem: str) -> None:
    honest = b'{"name":"node2","round_trip_ms":1.0}\n'
    probes = {"node1": Probe([honest]), "node2": Probe([answer])}
    tools: Any = {
        name: SimpleNamespace(open=lambda *_, probe=probe: probe) for name, probe in probes.items()
    }
    hosts = [Host(name, "10.0.0.1", slots=1) for name in probes]
    pairs, failures = try_pairs(tools, hosts, 1, "23000-23999", bandwidth=False)
    (error,) = failures.values()
    assert problem in error.problem
    assert str(error).isprintable()
    assert [pair.source for pair in pairs] == ["node1"]
