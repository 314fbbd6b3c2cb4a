"""What a host may send: the bounds of every event, and what it may report on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.factories import make_order, make_ready, make_use
from support.fake_agent import epoch_end

from dnnbench.errors import HostError
from dnnbench.sweep import event_checks
from dnnbench.sweep.event_checks import LOG_LINE_CHARACTERS, EventCheck, read_event
from dnnbench.trial.bounds import LINE_BYTES
from dnnbench.trial.messages import (
    AgentFailed,
    Checkpointed,
    CheckpointFailed,
    Diverged,
    Evaluated,
    HostUsed,
    Log,
    PortReserved,
    Prepared,
    Progress,
    RoleExited,
    RoleFailed,
    Served,
    ServerReady,
    Trained,
    WarmedUp,
    encode,
)
from dnnbench.trial.outcome import Divergence, EvaluationRecord, WarmupRecord

if TYPE_CHECKING:
    from dnnbench.trial.messages import AnyEvent

PLACEMENT = {"ps:0": "a", "worker:0": "b", "worker:1": "a"}
PROGRESS: dict[str, Any] = {
    "event": "progress",
    "task": "worker:0",
    "at_s": 1.0,
    "epoch": 1,
    "step": 1,
    "steps_per_epoch": 2,
    "examples_per_s": 3.0,
    "loss": 0.5,
}
EPOCH_END = json.loads(encode(epoch_end("worker:0", 1, 5)))
READY = json.loads(encode(make_ready()))
HOST_USED = json.loads(encode(HostUsed(task="agent", use=make_use(clock_mhz=(2e3, 2e3)))))


def line_of(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def changed(event: dict[str, Any], path: str, value: Any) -> bytes:
    """Return an event's line with one value replaced; ``path`` may lead into its record."""
    event = json.loads(json.dumps(event))
    *way, last = path.split(".")
    place = event
    for name in way:
        place = place[name]
    place[last] = value
    return line_of(event)


def test_an_honest_event_is_read_as_it_was_sent() -> None:
    for event in (make_ready(), epoch_end("worker:0", 1, 5), RoleExited(task="ps:0", code=-9)):
        assert read_event("a", encode(event)) == event


@pytest.mark.parametrize(
    ("event", "path", "value"),
    [
        (PROGRESS, "step", -1),
        (PROGRESS, "epoch", -1),
        (PROGRESS, "steps_per_epoch", 0),
        (PROGRESS, "steps_per_epoch", 10**30),
        (PROGRESS, "examples_per_s", -0.5),
        (PROGRESS, "examples_per_s", 1e300),
        (PROGRESS, "examples_per_s", float("nan")),
        (PROGRESS, "loss", float("inf")),
        (PROGRESS, "at_s", 1e18),
        (PROGRESS, "task", "x" * 2000),
        (PROGRESS, "task", ["worker:0"]),
        (PROGRESS, "stranger", 1),
        (EPOCH_END, "record.duration_s", 0),
        (EPOCH_END, "record.duration_s", -5),
        (EPOCH_END, "record.duration_s", 1e308),
        (EPOCH_END, "record.cpu_s", -1),
        (EPOCH_END, "record.steps", 0),
        (EPOCH_END, "record.examples", 0),
        (EPOCH_END, "record.staleness", {"counts": [-1]}),
        (EPOCH_END, "record.staleness", {"counts": [1] * 100_000}),
        (HOST_USED, "use.duration_s", 0),
        (HOST_USED, "use.busy_s", -1),
        (HOST_USED, "use.steal_s", float("nan")),
        (HOST_USED, "use.clock_mhz", [2000.0, 0.0]),
        (HOST_USED, "use.load_after", 1e300),
        (READY, "pid", 0),
        (READY, "preload_s", -1),
        (READY, "machine.cores", 0),
        (READY, "machine.cores_usable", 0),
        (READY, "machine.hostname", "h" * 5000),
    ],
)
def test_a_value_out_of_bounds_is_one_line_with_the_host(
    event: dict[str, Any], path: str, value: Any
) -> None:
    with pytest.raises(HostError) as caught:
        read_event("node1", changed(event, path, value))
    text = str(caught.value)
    assert text.startswith("node1: expected an event, found ")
    assert text.isprintable()
    assert len(text) < 1000


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello\n",
        b"\xff\xfe\n",
        b'{"event":"log","task":"a","line":"\\ud800"}',
        b"null\n",
        b'{"event":"unknown","task":"ps:0"}\n',
        b'{"event":' + b"[" * 100_000,
        b'{"event":"log","line":' + b'{"a":' * 100_000,
        b"1" * (LINE_BYTES + 1),
        b'{"event":"log","task":"ps:0","line":"\x1b[2J"}',
    ],
)
def test_what_is_no_event_is_one_line_with_the_host(line: bytes) -> None:
    with pytest.raises(HostError) as caught:
        read_event("node1", line)
    assert str(caught.value).startswith("node1: expected ")
    assert str(caught.value).isprintable()


def test_a_logs_line_keeps_its_indent_and_loses_what_a_terminal_acts_on() -> None:
    line = "    at \x1b[31mred\x1b[0m\r\n\x9b2J"
    event = read_event("a", encode(Log(task="ps:0", line=line)))
    assert isinstance(event, Log)
    assert event.line.isprintable()
    assert event.line.startswith("    at \\x1b[31mred")


def test_a_logs_line_without_end_is_cut() -> None:
    event = read_event("a", encode(Log(task="ps:0", line="x" * 50_000)))
    assert isinstance(event, Log)
    assert event.line == "x" * LOG_LINE_CHARACTERS + " ... (50,000 characters)"


@pytest.mark.parametrize("kind", [RoleFailed, AgentFailed, CheckpointFailed])
def test_a_cause_is_one_line_of_bounded_length(
    kind: type[RoleFailed | AgentFailed | CheckpointFailed],
) -> None:
    event = read_event("a", encode(kind(task="ps:0", cause="first\n\x1b[1msecond" + "x" * 10**5)))
    assert isinstance(event, kind)
    assert event.cause.startswith("first \\x1b[1msecondxxx")
    assert event.cause.isprintable()
    assert len(event.cause) < 3000


def progress(task: str) -> Progress:
    return msgspec.convert({**PROGRESS, "task": task}, Progress)


def warm(task: str, record_of: str | None = None) -> WarmedUp:
    return WarmedUp(task=task, record=WarmupRecord(record_of or task, 10, 0.1))


def evaluated(task: str, epoch: int | None) -> Evaluated:
    return Evaluated(task=task, record=EvaluationRecord(epoch, 10, 0.9, 0.9))


def test_honest_events_of_a_trial_pass() -> None:
    check = EventCheck(make_order(3, epochs=2), PLACEMENT)
    for host in ("a", "b"):
        check.refuse_odd(host, Prepared(task="agent", duration_s=0.1, parameters=1))
        check.refuse_odd(host, Log(task="agent", line="hello"))
    for task, host in PLACEMENT.items():
        for _ in range(2):  # it starts again where a port was taken
            check.refuse_odd(host, PortReserved(task=task, pid=1, port=4000))
        check.refuse_odd(host, ServerReady(task=task))
    check.refuse_odd("b", warm("worker:0"))
    for _ in range(5):
        check.refuse_odd("b", progress("worker:0"))
    for epoch in (1, 2):
        check.refuse_odd("b", epoch_end("worker:0", epoch, 5))
        check.refuse_odd("b", evaluated("worker:0", epoch))
    check.refuse_odd("b", evaluated("worker:0", None))
    check.refuse_odd("a", Served(task="ps:0", cpu_s=1.0, updates_applied=1))
    check.refuse_odd("b", RoleExited(task="worker:0", code=0))


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (Log(task="../../../planted", line="x"), "Log of '../../../planted'"),
        (Log(task="worker:0", line="of another host"), "Log of 'worker:0'"),
        (Log(task="nodir/x", line="x"), "Log of 'nodir/x'"),
        (Log(task="a\0b", line="x"), "Log of 'a\\\\x00b'"),
        (Log(task="x" * 300, line="x"), "(300 characters)"),
        (RoleExited(task="worker:9", code=0), "RoleExited of 'worker:9'"),
        (RoleFailed(task="agent", cause="x"), "RoleFailed of 'agent'"),
        (progress("ps:1"), "Progress of 'ps:1'"),
        (progress("ps:0"), "events of the role of ps:0, found Progress"),
        (Served(task="zz", cpu_s=1.0, updates_applied=1), "Served of 'zz'"),
        (Served(task="worker:1", cpu_s=1.0, updates_applied=1), "the role of worker:1"),
        (Checkpointed(task="worker:1", updates=1, duration_s=0.1), "the role of worker:1"),
        (CheckpointFailed(task="worker:1", cause="full"), "the role of worker:1"),
        (evaluated("worker:1", None), "the role of worker:1, found Evaluated"),
        (Prepared(task="ps:0", duration_s=0.1, parameters=1), "the role of ps:0"),
        (AgentFailed(task="worker:1", cause="x"), "the role of worker:1, found AgentFailed"),
        (warm("worker:1", "worker:0"), "records of worker:1, found one of 'worker:0'"),
        (epoch_end("worker:1", 3, 5), "epochs up to 2, found 3 of worker:1"),
    ],
)
def test_a_host_reports_on_the_tasks_that_are_placed_there_alone(
    event: AnyEvent, problem: str
) -> None:
    check = EventCheck(make_order(3, epochs=2), PLACEMENT)
    with pytest.raises(HostError) as caught:
        check.refuse_odd("a", event)
    text = str(caught.value)
    assert text.startswith("a: broke the protocol: expected ")
    assert problem in text
    assert text.isprintable()


@pytest.mark.parametrize(
    "event",
    [
        warm("worker:1"),
        epoch_end("worker:1", 1, 5),
        Trained(task="worker:1", updates_pushed=1),
        Served(task="ps:0", cpu_s=1.0, updates_applied=1),
        HostUsed(task="agent", use=make_use()),
    ],
)
def test_a_result_is_taken_once(event: AnyEvent) -> None:
    check = EventCheck(make_order(3, epochs=2), PLACEMENT)
    check.refuse_odd("a", event)
    with pytest.raises(HostError, match="expected each result once, found another"):
        check.refuse_odd("a", event)


def test_events_without_end_break_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_checks, "EVENTS_OF_A_TASK", 3)
    check = EventCheck(make_order(3), PLACEMENT)
    for _ in range(3):
        check.refuse_odd("b", progress("worker:0"))
    with pytest.raises(HostError, match="at most 3 events of worker:0, found more"):
        check.refuse_odd("b", progress("worker:0"))


@pytest.mark.parametrize(
    ("host", "task", "record", "problem"),
    [
        ("a", "worker:0", Divergence("worker:0", 1, 1), "tasks placed there"),
        ("a", "ps:0", Divergence("ps:0", 1, 1), "of the role of ps:0"),
        ("b", "worker:0", Divergence("worker:1", 1, 1), "records of worker:0"),
        ("b", "worker:0", Divergence("worker:0", 3, 1), "epochs up to 2, found 3"),
    ],
)
def test_a_divergence_is_a_workers_own_in_an_epoch_that_was_ordered(
    host: str, task: str, record: Divergence, problem: str
) -> None:
    check = EventCheck(make_order(3, epochs=2), PLACEMENT)
    with pytest.raises(HostError, match=problem):
        check.refuse_odd(host, Diverged(task=task, record=record))
    check.refuse_odd("b", Diverged(task="worker:0", record=Divergence("worker:0", 0, 1)))


def test_without_parameter_servers_the_first_worker_accounts_for_the_updates() -> None:
    served = Served(task="worker:0", cpu_s=0.0, updates_applied=5)
    check = EventCheck(make_order(2, "sequential", parameter_servers=0), {"worker:0": "a"})
    check.refuse_odd("a", served)
    with pytest.raises(HostError, match="expected events of the role of worker:0"):
        EventCheck(make_order(), PLACEMENT).refuse_odd("b", served)
