from __future__ import annotations

import json
import os
import queue
import signal
import sys
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from support.echo_agent import expected
from support.kept import TIMEOUT_S, KeptHost, Relay, end_of

from benchmarks.testbed.processes import Witness, children_of
from dnnbench.errors import HostError
from dnnbench.hosts.agents.kept import KeptAgent
from dnnbench.hosts.provision.bundle import tools
from dnnbench.hosts.ssh.connection import connect
from dnnbench.hosts.ssh.settings import resolve
from dnnbench.sweep.inbox import Inbox
from dnnbench.trial.messages import AgentReady, Log, Start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import StartHosts

    from dnnbench.hosts.agents.kept import Stream
    from dnnbench.hosts.ssh.connection import Connection
    from dnnbench.trial.messages import AnyEvent


class Controller:
    """A remote agent, what came from it and what was said of it."""

    def __init__(self, host: KeptHost, open_relay: Callable[[], Stream], **options: Any) -> None:
        self.inbox = Inbox()
        self.notes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.agent = KeptAgent(
            host.name,
            open_relay,
            self.inbox,
            [1, 2],
            on_trouble=self.notes.put,
            **{"controller_id": "me", "purpose": "trial", "beat_s": 0.5, **options},
        )

    def next(self) -> AnyEvent | HostError:
        arrival = self.inbox.get(TIMEOUT_S)
        assert arrival is not None
        assert arrival.host == "node1"
        return arrival.what

    def next_line(self) -> str:
        event = self.next()
        assert isinstance(event, Log), event
        return event.line

    def expect_loss(self) -> HostError:
        error = self.next()
        assert isinstance(error, HostError), error
        assert error.where == "node1"
        with pytest.raises(HostError, match=error.problem[:20]):
            self.agent.send(numbered(1))
        return error


def numbered(number: int) -> Start:
    return Start(tasks=[], threads=number)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeptHost]:
    with KeptHost(tmp_path / "dnnbench", "echo_agent.py") as host:
        yield host


@pytest.fixture
def controller(host: KeptHost) -> Iterator[Controller]:
    """Attached to an agent that is ready."""
    host.start()
    controller = Controller(host, host.relay)
    try:
        assert isinstance(controller.next(), AgentReady)
        yield controller
    finally:
        controller.agent.close()


def test_orders_and_events_arrive_once_and_in_order_however_often_the_connection_breaks(
    host: KeptHost, controller: Controller
) -> None:
    lines = []
    for number in range(1, 31):
        controller.agent.send(numbered(number))
        if number % 10 == 0:  # in the middle of the bursts; the next orders find no connection
            lines.append(controller.next_line())
            host.relays[-1].process.kill()
            assert "lost" in controller.notes.get(timeout=TIMEOUT_S)
        elif number % 10 == 5 and number > 10:
            assert "back" in controller.notes.get(timeout=TIMEOUT_S)
    wanted = expected(30)
    lines += [controller.next_line() for _ in wanted[len(lines) :]]
    assert lines == wanted
    assert len(host.relays) >= 4
    assert controller.inbox.get(0) is None


def test_people_are_told_of_a_lost_connection_and_of_its_return(
    host: KeptHost, controller: Controller
) -> None:
    host.relays[-1].process.kill()
    assert controller.notes.get(timeout=TIMEOUT_S) == "connection to node1 lost, trying again"
    assert controller.notes.get(timeout=TIMEOUT_S) == "connection to node1 is back"


def test_a_connection_that_falls_silent_is_replaced(host: KeptHost) -> None:
    host.start()
    controller = Controller(host, host.relay, beat_s=0.2)
    assert isinstance(controller.next(), AgentReady)
    os.kill(host.relays[-1].process.pid, signal.SIGSTOP)
    controller.agent.send(numbered(1))
    assert [controller.next_line() for _ in expected(1)] == expected(1)
    assert len(host.relays) > 1
    controller.agent.close()


def test_beats_keep_a_controller_attached_beyond_the_grace(host: KeptHost) -> None:
    pid = host.start(grace_s=1.0, lease_s=0.5, first_lease_s=20.0)["pid"]
    controller = Controller(host, host.relay, beat_s=0.2)
    assert isinstance(controller.next(), AgentReady)
    with Witness([pid]) as witness:
        assert witness.alive_after(2.0) == [pid]
    controller.agent.send(numbered(1))
    assert controller.next_line() == "1.0"
    controller.agent.close()
    assert end_of([pid]) == []


def test_close_ends_the_agent_and_its_keeper_and_is_safe_to_do_twice(
    host: KeptHost, controller: Controller
) -> None:
    (cluster,) = host.call("status")["clusters"]
    processes = [cluster["pid"], *children_of(cluster["pid"])]
    controller.agent.close()
    controller.agent.close()
    assert end_of(processes) == []
    assert not host.state().exists()
    with pytest.raises(HostError, match="found it closed"):
        controller.agent.send(numbered(1))
    assert controller.inbox.get(0) is None


def test_close_gets_through_though_the_connection_was_just_lost(
    host: KeptHost, controller: Controller
) -> None:
    host.relays[-1].process.kill()
    controller.agent.close()
    assert host.call("status") == {"clusters": [], "orphans": []}


def test_an_agent_that_is_left_stands_for_the_next_controller(
    host: KeptHost, controller: Controller
) -> None:
    controller.agent.send(numbered(1))
    controller.agent.leave()
    (cluster,) = host.call("status")["clusters"]
    assert (cluster["attached"], cluster["doing"]) == (False, "idle")
    following = Controller(host, host.relay, controller_id="next")
    assert isinstance(following.next(), AgentReady)
    following.agent.send(numbered(2))
    lines = [following.next_line()]
    while lines[-1] != "2.19":
        lines.append(following.next_line())
    assert lines[-20:] == expected(2)[-20:]
    following.agent.close()


def test_a_killed_keeper_is_one_error_and_no_order_goes_out_any_more(
    host: KeptHost, controller: Controller
) -> None:
    os.kill(host.keepers[0], signal.SIGKILL)
    loss = controller.expect_loss()
    assert "no cluster is running at" in str(loss)
    assert loss.kind == "disconnected"
    controller.agent.close()
    assert controller.inbox.get(0) is None


def test_the_end_of_an_agent_is_told_with_its_last_words(
    host: KeptHost, controller: Controller
) -> None:
    (agent,) = children_of(host.keepers[0])
    lines = ["out of memory", "I0000 00:00:1795629214.1 2779 port.cc:153] oneDNN is on.", ""]
    (host.state() / "agent.log").write_text("\n".join(lines))
    os.kill(agent, signal.SIGKILL)
    error = controller.expect_loss()
    assert error.problem == "the agent was killed by SIGKILL: out of memory"
    assert error.kind == "crashed"


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGILL, "illegal-instruction"), (signal.SIGTERM, "crashed")]
)
def test_the_end_of_an_agent_has_the_kind_of_its_cause(
    host: KeptHost, controller: Controller, number: int, kind: str
) -> None:
    (agent,) = children_of(host.keepers[0])
    os.kill(agent, number)
    assert controller.expect_loss().kind == kind


def test_a_host_that_cannot_be_reached_is_lost_after_the_grace_not_before(host: KeptHost) -> None:
    def unreachable() -> Relay:
        raise HostError("no route to it", remedy="is it up?")

    start_s = time.monotonic()
    controller = Controller(host, unreachable, grace_s=0.5)
    error = controller.expect_loss()
    assert time.monotonic() - start_s >= 0.5
    assert error.problem == "lost: no connection for 0.5 s: no route to it"
    assert error.remedy == "is it up?"
    assert error.kind == "disconnected"
    controller.agent.close()


def test_a_bug_in_the_transport_is_told_and_does_not_leave_anybody_waiting(host: KeptHost) -> None:
    def broken() -> Relay:
        raise ZeroDivisionError

    controller = Controller(host, broken)
    assert "ZeroDivisionError" in controller.expect_loss().problem
    controller.agent.close()


def test_an_agent_that_another_controller_has_is_refused(
    host: KeptHost, controller: Controller
) -> None:
    other = Controller(host, host.relay, controller_id="other")
    assert other.expect_loss().problem == "another controller is attached: trial"
    other.agent.close()
    controller.agent.send(numbered(1))
    assert controller.next_line() == "1.0"


def test_a_dead_controller_is_waited_for_no_longer_than_its_grace(host: KeptHost) -> None:
    host.start(grace_s=1.5)
    dead = host.attach_ready("dead")
    dead.close()
    controller = Controller(host, host.relay, grace_s=1.0)
    assert isinstance(controller.next(), AgentReady)
    assert "another controller is attached" in controller.notes.get_nowait()
    controller.agent.close()


def test_a_controller_known_to_be_dead_is_not_waited_for(
    host: KeptHost, controller: Controller
) -> None:
    (cluster,) = host.call("status")["clusters"]
    assert cluster["controller"] == "me"
    following = Controller(host, host.relay, controller_id="next", succeeds="me")
    assert isinstance(following.next(), AgentReady)
    assert "another controller" in controller.expect_loss().problem  # not so dead after all
    assert following.notes.empty()
    following.agent.close()


def test_noise_of_a_shell_is_named(host: KeptHost) -> None:
    class Noisy(Relay):
        def read_line(self, timeout_s: float | None = None) -> bytes:
            del timeout_s
            return b"Welcome to node1!\n"

    def noisy() -> Relay:
        host.relays.append(Noisy("none"))
        return host.relays[-1]

    controller = Controller(host, noisy)
    assert "Welcome to node1!" in controller.expect_loss().problem
    controller.agent.close()


def test_over_ssh_a_dropped_connection_costs_no_event_and_no_order(
    start_hosts: StartHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    farm = start_hosts(1)
    (server,) = farm.sshds
    (target,) = resolve(farm.configs, farm.settings).values()
    archive = tmp_path / "tools.pyz"
    archive.write_bytes(tools().content)
    with ExitStack() as stack:

        def connection() -> Connection:
            return stack.enter_context(closing(connect(target, farm.settings)))

        def open_relay() -> Stream:
            return connection().open(f"{sys.executable} {archive} relay {started['socket']}")

        host = stack.enter_context(KeptHost(tmp_path / "dnnbench", "echo_agent.py"))
        request = json.dumps(host.start_request()).encode() + b"\n"
        command = f"{sys.executable} {archive} start"
        started = json.loads(connection().run(command, request).stdout)
        (cluster,) = host.call("status", scope=server.address)["clusters"]
        assert cluster["pid"] == started["pid"]

        controller = Controller(host, open_relay)
        stack.callback(controller.agent.close)
        assert isinstance(controller.next(), AgentReady)
        lines = []
        for number in range(1, 21):
            controller.agent.send(numbered(number))
            if number % 10 == 0:
                lines.append(controller.next_line())
                for session in children_of(server.process.pid):
                    os.kill(session, signal.SIGKILL)
                assert "lost" in controller.notes.get(timeout=TIMEOUT_S)
            elif number == 15:
                assert "back" in controller.notes.get(timeout=TIMEOUT_S)
        wanted = expected(20)
        lines += [controller.next_line() for _ in wanted[len(lines) :]]
        assert lines == wanted
        controller.agent.close()
        assert end_of([started["pid"]]) == []
