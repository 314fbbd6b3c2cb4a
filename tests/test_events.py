from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
import pytest
from factories import make_order, make_outcome, make_ready

from dnnbench import events
from dnnbench.cluster import ClusterSpec

ORDERS = [
    events.Prepare(trial=make_order()),
    events.Start(tasks=["ps:0", "worker:0"], threads=1),
    events.Connect(cluster=ClusterSpec(ps=["a:1"], worker=["a:2", "b:3"])),
    events.WarmUp(),
    events.Go(),
    events.Finish(),
    events.Leave(),
    events.Stop(),
]
OUTCOME = make_outcome(make_order())
EVENTS = [
    make_ready(7),
    events.Prepared(task="agent", duration_s=0.5, parameters=55_050),
    events.PortReserved(task="ps:0", pid=8, port=4711),
    events.ServerReady(task="ps:0"),
    events.PortClash(task="ps:0", port=4711),
    events.WarmedUp(task="worker:0", record=OUTCOME.warmups[0]),
    events.Progress(
        task="worker:0", epoch=1, step=10, steps_per_epoch=550, examples_per_s=1e4, loss=2.3
    ),
    events.EpochEnd(task="worker:0", record=OUTCOME.epochs[0]),
    events.Trained(task="worker:0", updates_pushed=1150),
    events.Served(task="ps:0", cpu_s=2.5, updates_applied=1150),
    events.Evaluated(task="worker:0", record=OUTCOME.evaluations[-1]),
    events.Log(task="worker:0", line="a line\nof two, with ünïcode"),
    events.RoleFailed(task="worker:0", cause="ValueError: no"),
    events.RoleExited(task="worker:0", code=-9),
    events.AgentFailed(task="agent", cause="no such model"),
]


def name(message: object) -> str:
    return type(message).__name__


def test_the_examples_here_are_of_every_order_and_event() -> None:
    assert {type(order) for order in ORDERS} == set(get_args(events.AnyOrder))
    assert {type(event) for event in EVENTS} == set(get_args(events.AnyEvent))


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_an_order_is_one_line_and_comes_back_as_it_was(order: events.Order) -> None:
    line = events.encode(order)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert events.decode_order(line) == order


@pytest.mark.parametrize("event", EVENTS, ids=name)
def test_an_event_is_one_line_and_comes_back_as_it_was(event: events.Event) -> None:
    line = events.encode(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert events.decode_event(line) == event


@pytest.mark.parametrize(
    ("decode", "fields", "complaint"),
    [
        (events.decode_order, {"order": "stop", "gently": True}, "unknown field `gently`"),
        (events.decode_order, {"order": "explode"}, "Invalid value 'explode'"),
        (events.decode_order, {"order": "start", "tasks": ["ps:0"]}, "missing required field"),
        (events.decode_order, {"event": "server_ready", "task": "ps:0"}, "missing required field"),
        (events.decode_event, {"event": "server_ready", "task": "ps:0", "x": 1}, "field `x`"),
        (events.decode_event, {"event": "trained", "task": "w", "updates_pushed": "9"}, "`int`"),
    ],
)
def test_a_message_that_this_version_does_not_know_is_refused(
    decode: Any, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(msgspec.DecodeError, match=re.escape(complaint)):
        decode(msgspec.json.encode(fields))


def test_an_unknown_field_deep_in_an_order_is_refused_too() -> None:
    order = msgspec.to_builtins(events.Prepare(trial=make_order()))
    order["trial"]["protocol"]["momentum"] = 0.9
    with pytest.raises(msgspec.DecodeError, match="momentum"):
        events.decode_order(msgspec.json.encode(order))
