"""A hostile relay: whatever it sends, its agent is heard or lost with one line."""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.factories import make_ready

from dnnbench.errors import HostError
from dnnbench.hosts.agents import kept
from dnnbench.hosts.agents.kept import KeptAgent
from dnnbench.sweep.inbox import Inbox
from dnnbench.trial.bounds import LINE_BYTES
from dnnbench.trial.messages import Event, Log, encode

TIMEOUT_S = 10.0
LOG = json.loads(encode(Log(task="worker:0", line="hello")))
WELCOME = {"orders": 0, "events": 0, "ready": json.loads(encode(make_ready()))}
END = b""


class Stream:
    """A relay that says what it is given, and then answers like a keeper."""

    errors = "\x1b[31mlast words\n"

    def __init__(self, lines: list[bytes]) -> None:
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.is_read = threading.Event()
        for line in lines:
            self._lines.put(line)

    def write(self, data: bytes) -> None:
        if b'{"end"' in data:
            self._lines.put(b'{"ended":0}\n')

    def read_line(self, timeout_s: float | None = None) -> bytes:
        del timeout_s
        if self._lines.empty():
            self.is_read.set()
        return self._lines.get(timeout=TIMEOUT_S)

    def close(self) -> None:
        self._lines.put(END)


class Heard:
    """What came of a relay's lines.

    Attributes:
        events: that arrived.
        losses: the news that the agent is lost.
        notes: what people were told.
    """

    def __init__(self, lines: list[bytes]) -> None:
        self.notes: list[str] = []
        self.events: list[Event] = []
        self.losses: list[HostError] = []
        inbox = Inbox()
        streams = [Stream([line_of({"welcome": WELCOME})]), Stream(lines)]
        all_read = [stream.is_read for stream in streams]

        def open_relay() -> Stream:
            return streams.pop()

        agent = KeptAgent(
            "node1",
            open_relay,
            inbox,
            [1],
            controller_id="me",
            purpose="trial",
            on_trouble=self.notes.append,
        )
        for _ in range(int(TIMEOUT_S / 0.005)):
            if agent._over.wait(0.005) or any(read.is_set() for read in all_read):
                break
        agent.close()
        while arrival := inbox.get(0):
            if isinstance(arrival.what, HostError):
                self.losses.append(arrival.what)
            else:
                self.events.append(arrival.what)


def line_of(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


ODD: st.SearchStrategy[Any] = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 1, 10**15, 2**63, 10**30, 10**4000]),
    st.floats(),
    st.text(max_size=20),
    st.none(),
    st.booleans(),
    st.sampled_from([LOG, WELCOME, {"problem": "a\nb\x1b[0m"}, {"problem": 7}, [], {}, [[[]]]]),
    st.sampled_from([{"problem": "not now", "remedy": "\x9b", "passing": True}]),
)
KEYS = ["welcome", "n", "event", "beat", "left", "ended", "cause", "refused", "error", "odd"]
LINES: st.SearchStrategy[bytes] = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), ODD, max_size=3).map(line_of),
    st.fixed_dictionaries({"n": st.integers(1, 5), "event": ODD}).map(line_of),
    st.fixed_dictionaries(
        {"welcome": st.fixed_dictionaries({"orders": ODD, "events": ODD, "ready": ODD})}
    ).map(line_of),
    st.binary(max_size=30).map(lambda text: text.replace(b"\n", b"") + b"\n"),
    st.just(b'{"event":' + b"[" * 50_000 + b"\n"),
)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(kept, "_CLOSE_TIMEOUT_S", 0.2)


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lines=st.lists(LINES, max_size=4), is_welcome=st.booleans())
def test_whatever_a_relay_sends_its_agent_is_heard_or_lost_with_one_line(
    lines: list[bytes], is_welcome: bool
) -> None:
    welcome = [line_of({"welcome": WELCOME})] if is_welcome else []
    heard = Heard([*welcome, *lines])
    assert len(heard.losses) <= 1 + any(b"event" in line for line in lines)
    for error in heard.losses:
        assert error.where == "node1"
        assert str(error).isprintable()
        assert "lost: " not in error.problem  # as a bug here would be told
    assert all(note.isprintable() for note in heard.notes)


def test_a_line_without_end_is_the_end_of_its_agent() -> None:
    heard = Heard([line_of({"welcome": WELCOME}), b"x" * LINE_BYTES])
    (error,) = heard.losses
    assert str(error) == "node1: expected lines of at most 1,048,576 bytes, found more"


def test_after_an_event_that_is_none_nothing_more_is_believed_and_the_keeper_is_still_told() -> (
    None
):
    good = line_of({"n": 2, "event": LOG})
    heard = Heard([line_of({"welcome": WELCOME}), line_of({"n": 1, "event": 7}), good])
    (error,) = heard.losses
    assert error.problem.startswith("expected an event, found b'7'")
    assert [type(event).__name__ for event in heard.events] == ["AgentReady"]


def test_text_of_a_keeper_is_shown_as_one_line() -> None:
    refusal = {"problem": "taken\nby \x1b[31mme", "remedy": "wait\n\x9b2J"}
    (error,) = Heard([line_of({"refused": refusal})]).losses
    assert str(error) == "node1: taken by \\x1b[31mme; wait \\x9b2J"
