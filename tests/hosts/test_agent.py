from __future__ import annotations

import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

import pytest
from support import PROJECT, SUPPORT, TESTS
from support.factories import make_order

from benchmarks.testbed.processes import Witness
from dnnbench.training.agent import Agent, _Role
from dnnbench.training.lines import Lines
from dnnbench.training.roles.channel import telling_line
from dnnbench.trial.messages import (
    AgentFailed,
    AgentReady,
    AnyEvent,
    Connect,
    Event,
    Go,
    Log,
    Order,
    PortReserved,
    Prepare,
    Prepared,
    Progress,
    Restart,
    RoleExited,
    RoleFailed,
    Start,
    Stop,
    decode_event,
    encode,
)
from dnnbench.trial.role_environment import CHECKPOINTS
from dnnbench.trial.tasks import ClusterSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = SUPPORT / "agent_without_tensorflow.py"
TIMEOUT_S = 10.0
CONNECT = Connect(cluster=ClusterSpec(ps=[], worker=[]))
EventT = TypeVar("EventT", bound=Event)


class AgentProcess:
    """An agent, and the events that it has sent."""

    def __init__(self, **environment: str) -> None:
        paths = {"PYTHONPATH": f"{PROJECT}{os.pathsep}{TESTS}"}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **paths, **environment},
        )
        self.events: queue.SimpleQueue[AnyEvent] = queue.SimpleQueue()
        self.seen: list[AnyEvent] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.put(decode_event(line))

    def send(self, *orders: Order) -> None:
        self.write(b"".join(map(encode, orders)))

    def write(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def await_(self, kind: type[EventT]) -> EventT:
        """Return the next event of a kind; those before it are in ``seen``, like itself."""
        while True:
            event = self.events.get(timeout=TIMEOUT_S)
            self.seen.append(event)
            if isinstance(event, kind):
                return event

    def start(self, behavior: str, *tasks: str) -> dict[str, int]:
        """Start roles up to their wait for orders; return their process ids."""
        self.send(Prepare(trial=make_order(id=behavior)), Start(list(tasks), 1))
        return {e.task: e.pid for e in (self.await_(PortReserved) for _ in tasks)}

    def lines(self, task: str) -> list[str]:
        return [e.line for e in self.seen if isinstance(e, Log) and e.task == task]

    def close(self) -> int:
        assert self.process.stdin
        self.process.stdin.close()
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self.process.stdout
        self.process.stdout.close()
        return code


@pytest.fixture
def agent() -> Iterator[AgentProcess]:
    process = AgentProcess()
    try:
        process.await_(AgentReady)
        yield process
    finally:
        process.close()


def test_a_trial_is_prepared_and_its_size_told(agent: AgentProcess) -> None:
    agent.send(Prepare(trial=make_order()))
    assert agent.await_(Prepared).parameters == 7 + 8


def test_every_line_of_a_role_arrives_before_its_exit(agent: AgentProcess) -> None:
    agent.start("talk", "ps:0")
    agent.send(CONNECT)
    assert agent.await_(RoleExited).code == 0
    assert agent.lines("ps:0") == [
        "on standard output",
        "on standard error",
        "and a last line that nothing ends",
    ]


def test_an_exception_is_told_in_one_line_and_logged_whole(agent: AgentProcess) -> None:
    agent.start("stumble", "worker:0")
    agent.send(CONNECT)
    assert agent.await_(RoleExited).code == 1
    (failed,) = (event for event in agent.seen if isinstance(event, RoleFailed))
    assert failed.cause == "ValueError: shapes [2] and [3] differ"
    log = agent.lines("worker:0")
    assert log[0].startswith("Traceback")
    assert "Detected at node x" in log


def test_what_a_role_logged_before_an_event_arrives_before_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    orders, events, log = (os.pipe() for _ in range(3))
    role = _Role("worker:0", 0, orders[1], events[0], log[0])
    agent = Agent(SimpleNamespace(), 1)  # type: ignore[arg-type]
    for lines in (role.events, role.log):
        agent._selector.register(lines.fd, selectors.EVENT_READ, (role, lines))
    os.write(events[1], b"an event\n")  # the kernel tells first what became ready first
    os.write(log[1], b"the last line\n")
    assert agent._turn(Lines(orders[0]))
    logged, event = capfd.readouterr().out.splitlines()
    assert "the last line" in logged
    assert event == "an event"
    for fd in (*orders, *events, *log):
        os.close(fd)


def test_stop_kills_deaf_roles_and_what_they_started(agent: AgentProcess) -> None:
    pids = agent.start("hang", "ps:0", "worker:0")
    agent.send(CONNECT)
    # Where this behavior puts them: the child's process id in epoch, the role's group in step.
    told = [agent.await_(Progress), agent.await_(Progress)]
    assert {event.step for event in told} == set(pids.values())
    with Witness([*pids.values(), *(event.epoch for event in told)]) as witness:
        agent.send(Stop())
        assert [agent.await_(RoleExited).code for _ in pids] == [-signal.SIGKILL] * 2
        assert witness.alive_after(TIMEOUT_S) == []


def test_stop_at_once_after_start_leaves_nothing(agent: AgentProcess) -> None:
    tasks = [f"worker:{n}" for n in range(5)]
    agent.send(Prepare(trial=make_order(id="hang")), Start(tasks, 1), Stop())
    exits = {agent.await_(RoleExited).task for _ in tasks}
    assert exits == set(tasks)


def test_the_end_of_standard_input_ends_roles_and_agent(agent: AgentProcess) -> None:
    pids = agent.start("hang", "ps:0", "worker:0")
    agent.send(CONNECT)
    children = [agent.await_(Progress).epoch for _ in pids]
    with Witness([*pids.values(), *children]) as witness:
        assert agent.close() == 0
        assert witness.alive_after(TIMEOUT_S) == []


def test_roles_do_not_outlive_a_killed_agent(agent: AgentProcess) -> None:
    pids = agent.start("talk", "ps:0", "worker:0", "worker:1")
    with Witness(pids.values()) as witness:
        agent.process.kill()
        assert witness.alive_after(TIMEOUT_S) == []


def test_a_role_that_died_unseen_does_not_keep_orders_from_the_others(
    capfd: pytest.CaptureFixture[str],
) -> None:
    dead_read, dead_write = os.pipe()
    os.close(dead_read)
    live_read, live_write = os.pipe()
    agent = Agent(SimpleNamespace(), 1)  # type: ignore[arg-type]
    for task, orders_fd in (("worker:0", dead_write), ("worker:1", live_write)):
        agent._roles[task] = _Role(task, 0, orders_fd, events_fd=-1, log_fd=-1)
    agent._carry_out(encode(Go()).rstrip())
    os.close(live_write)
    with os.fdopen(live_read, "rb") as orders:
        assert orders.read() == encode(Go())
    assert capfd.readouterr().out == ""
    os.close(dead_write)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b'{"order": "explode"}\n', "Invalid value 'explode'"),
        (encode(Start(tasks=["ps:0"], threads=1)), "expected the order prepare"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_and_the_agent_goes_on(
    agent: AgentProcess, line: bytes, cause: str
) -> None:
    agent.write(line)
    assert cause in agent.await_(AgentFailed).cause
    agent.start("talk", "ps:0")


@pytest.mark.parametrize("end", ["stop", "close"])
def test_checkpoints_stay_for_a_lost_role_and_go_with_the_trial(tmp_path: Path, end: str) -> None:
    left = tmp_path / "checkpoints" / "ps-0" / "1" / "shard.index"
    agent = AgentProcess(**{CHECKPOINTS: str(tmp_path / "checkpoints")})
    try:
        agent.await_(AgentReady)
        agent.start("hang", "ps:0", "worker:0")
        left.parent.mkdir(parents=True)
        left.write_text("of a parameter server")
        agent.send(Stop(tasks=["ps:0", "worker:0"]))
        assert {agent.await_(RoleExited).task for _ in range(2)} == {"ps:0", "worker:0"}
        agent.send(Restart("ps:0", 1, 0, CONNECT.cluster, first_epoch=1))
        agent.await_(PortReserved)
        assert left.exists()
        if end == "stop":
            agent.send(Stop())
            agent.await_(RoleExited)
            agent.send(Prepare(trial=make_order()))
            agent.await_(Prepared)
            assert not (tmp_path / "checkpoints").exists()
    finally:
        agent.close()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "ValueError: "),
        ("no such thing\nsecond", "ValueError: no such thing"),
        ("From /job:ps/replica:0\nSocket closed", "ValueError: Socket closed"),
        ("Graph execution error:", "ValueError: Graph execution error:"),
    ],
)
def test_the_line_of_an_error_is_the_one_that_says_most(text: str, line: str) -> None:
    assert telling_line(ValueError(text)) == line


def test_an_agent_whose_controller_is_gone_does_not_even_import_tensorflow() -> None:
    start = [sys.executable, "-X", "importtime", "-S", "-m", "dnnbench.training.start"]
    start += ["dnnbench.training.agent", str(PROJECT), ""]
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read) as closed:
        done = subprocess.run(start, stdin=closed, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "dnnbench.trial.messages" in done.stderr
    assert "tensorflow" not in done.stderr


def test_an_agent_whose_libraries_do_not_fit_reports_the_version_and_ends(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("raise ImportError('keras needs another numpy')")
    before = os.pathsep.join([str(tmp_path), str(PROJECT)])
    start, main = "dnnbench.training.start", "dnnbench.training.agent"
    orders, controller = os.pipe()
    done = subprocess.run(
        [sys.executable, "-S", "-m", start, main, before, ""],
        stdin=orders,
        capture_output=True,
        cwd=PROJECT,
        timeout=TIMEOUT_S,
        check=False,
    )
    os.close(orders)
    os.close(controller)
    event = decode_event(done.stdout)
    assert isinstance(event, AgentFailed)
    assert event.cause == "cannot import TensorFlow: ImportError: keras needs another numpy"
    assert (event.kind, done.returncode) == ("version", 1)
    assert b"keras.py" in done.stderr
