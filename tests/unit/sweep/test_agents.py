"""Waiting for what hosts send: what has arrived is read before a deadline is judged."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.factories import make_ready
from support.fake_agent import FakeAgent

from dnnbench.errors import HostError
from dnnbench.sweep import agents as agents_module
from dnnbench.sweep import inbox as inbox_module
from dnnbench.sweep.agents import Agents, combined
from dnnbench.sweep.inbox import Arrival, Inbox
from dnnbench.sweep.placement import Host
from dnnbench.trial.messages import AgentFailed, AgentReady, Log

if TYPE_CHECKING:
    from dnnbench.trial.messages import AnyEvent

NAMES = ["host-0", "host-1"]
LIMIT_S = 8.0
STOP_S = 25.0


class Clock:
    """A clock that can jump, as it seems to a process that was stopped."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class Patient(Inbox):
    """An inbox in which every wait takes its whole time on a clock, and none in the test.

    Attributes:
        late: what arrives once the wait after a stop has begun.
    """

    def __init__(self, clock: Clock, stop_s: float = 0.0, late: Arrival | None = None) -> None:
        super().__init__()
        self.waited_s = 0.0
        self._clock = clock
        self._stop_s = stop_s
        self._late = late

    def get(self, timeout_s: float) -> Arrival | None:
        if arrival := super().get(0):
            return arrival
        self._clock.now_s += max(timeout_s, 0.0)
        self.waited_s += max(timeout_s, 0.0)
        if self._stop_s:
            self._clock.now_s += self._stop_s
            self._stop_s = 0.0
            if self._late is not None:  # a thread that reads gets to it a moment later
                self.put(self._late)
        return None


def log(line: str) -> AnyEvent:
    return Log(task="worker:0", at_s=0.0, line=line)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(agents_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def agents_on(inbox: Inbox) -> Agents:
    hosts = [Host(name, "10.0.0.1") for name in NAMES]
    fakes = [FakeAgent(name, inbox, {}) for name in NAMES]
    return Agents(fakes, hosts, inbox, release=lambda: None)


def test_what_arrived_by_a_deadline_is_read_however_late_that_is(clock: Clock) -> None:
    inbox = Patient(clock)
    agents = agents_on(inbox)
    deadline_s = agents.now_s() + LIMIT_S
    arrivals = [Arrival("host-0", log(f"{n}")) for n in range(3)]
    for arrival in arrivals:
        inbox.put(arrival)
    clock.now_s += LIMIT_S + 1.0
    assert [agents.next(deadline_s, NAMES) for _ in range(4)] == [*arrivals, None]


def test_the_time_in_which_this_process_was_stopped_is_no_hosts_fault(clock: Clock) -> None:
    late = Arrival("host-1", log("sent while the controller was stopped"))
    inbox = Patient(clock, STOP_S, late)
    agents = agents_on(inbox)
    assert agents.next(agents.now_s() + LIMIT_S, NAMES) == late
    assert inbox.waited_s < LIMIT_S


def test_a_stop_does_not_make_a_wait_endless(clock: Clock) -> None:
    inbox = Patient(clock, STOP_S)
    agents = agents_on(inbox)
    assert agents.next(agents.now_s() + LIMIT_S, NAMES) is None
    assert LIMIT_S <= inbox.waited_s <= LIMIT_S + 1.0


def test_a_host_that_sends_without_end_does_not_put_off_a_deadline(clock: Clock) -> None:
    class Flood(Inbox):
        def get(self, timeout_s: float) -> Arrival | None:
            del timeout_s
            clock.now_s += 0.01
            return Arrival("host-0", log("again"))

    agents = agents_on(Flood())
    deadline_s = agents.now_s() + LIMIT_S
    reads = 0
    while agents.next(deadline_s, NAMES):
        reads += 1
        assert reads < 10_000
    assert clock.now_s < 1000.0 + 4 * LIMIT_S


def test_the_loss_of_a_host_that_is_not_waited_for_is_noted(clock: Clock) -> None:
    inbox = Patient(clock)
    agents = agents_on(inbox)
    loss = HostError("the agent ended with -9", where="host-1")
    inbox.put(Arrival("host-1", log("of nobody")))
    inbox.put(Arrival("host-1", loss))
    assert agents.next(agents.now_s() + 1.0, ["host-0"]) is None
    assert agents.lost == {"host-1": loss}


def test_the_first_reason_for_a_loss_stays() -> None:
    agents = agents_on(Inbox())
    first, second = (HostError(problem) for problem in ("first", "second"))
    agents.lose("host-0", first)
    agents.lose("host-0", second)
    assert agents.lost == {"host-0": first}


def test_an_event_from_another_thread_ends_a_wait_at_once() -> None:
    inbox = Inbox()
    agents = agents_on(inbox)
    arrival = Arrival("host-0", log("now"))
    threading.Timer(0.05, inbox.put, [arrival]).start()
    assert agents.next(agents.now_s() + 60.0, NAMES) == arrival


def test_closing_releases_once() -> None:
    released: list[int] = []
    with Agents([], [], Inbox(), release=lambda: released.append(1)) as agents:
        pass
    agents.close()
    assert released == [1]


def test_the_errors_of_many_hosts_are_one_line_that_names_them() -> None:
    missing = {f"n{n}": HostError(f"is down ({n})", where=f"n{n}", remedy="?") for n in range(6)}
    assert str(combined(missing)) == (
        "n0: is down (0); also missing: n1 (is down (1)), n2 (is down (2)), n3 (is down (3)) "
        "and 2 more; ?"
    )


def test_a_host_that_sends_faster_than_it_is_read_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "UNREAD_BYTES", 100)
    inbox = Inbox()
    put: list[int] = []

    def send() -> None:
        for number in range(20):
            inbox.put(Arrival("host-0", log(str(number))), 40)
            put.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    read: list[AnyEvent | HostError] = []
    while len(read) < 20:
        arrival = inbox.get(10.0)
        assert arrival is not None
        read.append(arrival.what)
        assert len(put) <= len(read) + 3  # 120 bytes, and the one that waits
    sender.join(10.0)
    assert read == [log(str(number)) for number in range(20)]


def test_a_sender_that_waits_is_let_go_when_the_inbox_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox_module, "UNREAD_BYTES", 1)
    inbox = Inbox()
    inbox.put(Arrival("host-0", log("first")), 1)
    sender = threading.Thread(target=inbox.put, args=[Arrival("host-0", log("second")), 1])
    sender.start()
    Agents([], [], inbox, release=lambda: None).close()
    sender.join(10.0)
    assert not sender.is_alive()
    assert inbox.get(0) is None


def test_news_between_two_trials_are_read_though_a_host_sends_without_end(clock: Clock) -> None:
    class Flood(Inbox):
        def get(self, timeout_s: float) -> Arrival | None:
            del timeout_s
            clock.now_s += 0.01
            return Arrival("host-0", log("again"))

    agents_on(Flood()).drain()
    assert clock.now_s < 1000.0 + 4 * LIMIT_S


def ready(**versions: str) -> AgentReady:
    event = make_ready()
    machine = msgspec.structs.replace(event.machine, versions=event.machine.versions | versions)
    return msgspec.structs.replace(event, machine=machine)


def test_a_host_with_another_version_than_this_side_is_lost_at_once() -> None:
    inbox = Inbox()
    agents = agents_on(inbox)
    inbox.put(Arrival("host-0", ready(tensorflow="2.99.0")))
    inbox.put(Arrival("host-1", ready()))
    assert list(agents.await_ready(LIMIT_S)) == ["host-1"]
    error = agents.lost["host-0"]
    assert error.kind == "version"
    assert "expected tensorflow" in error.problem
    assert "found 2.99.0" in error.problem
    assert error.remedy
    assert "provision" in error.remedy


def test_versions_that_one_side_does_not_know_are_not_compared() -> None:
    inbox = Inbox()
    agents = agents_on(inbox)
    unknown = msgspec.structs.replace(make_ready().machine, versions={"tensorflow": None})
    for host in NAMES:
        inbox.put(Arrival(host, msgspec.structs.replace(make_ready(), machine=unknown)))
    assert list(agents.await_ready(LIMIT_S)) == NAMES


def test_an_agent_that_cannot_import_tensorflow_is_lost_with_its_cause() -> None:
    inbox = Inbox()
    agents = agents_on(inbox)
    cause = "cannot import TensorFlow: ImportError: numpy 3"
    inbox.put(Arrival("host-0", AgentFailed(task="agent", cause=cause, kind="version")))
    inbox.put(Arrival("host-0", HostError("the agent ended with 1", where="host-0")))
    inbox.put(Arrival("host-1", make_ready()))
    assert list(agents.await_ready(LIMIT_S)) == ["host-1"]
    assert (agents.lost["host-0"].problem, agents.lost["host-0"].kind) == (cause, "version")
