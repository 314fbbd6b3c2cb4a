from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
import pytest
from support.factories import make_order, make_outcome, make_ready, make_use

from dnnbench.trial import messages
from dnnbench.trial.outcome import Divergence
from dnnbench.trial.tasks import ClusterSpec

ORDERS = [
    messages.Prepare(trial=make_order()),
    messages.Start(tasks=["ps:0", "worker:0"], threads=1),
    messages.Connect(cluster=ClusterSpec(ps=["a:1"], worker=["a:2", "b:3"])),
    messages.WarmStart(),
    messages.WarmUp(),
    messages.Go(),
    messages.Finish(),
    messages.Leave(),
    messages.Respond(),
    messages.Restart(
        task="worker:1", threads=2, port=4711, cluster=ClusterSpec(["a:1"], ["b:2"]), first_epoch=2
    ),
    messages.Stop(),
]
OUTCOME = make_outcome(make_order())
EVENTS = [
    make_ready(7),
    messages.Prepared(task="agent", duration_s=0.5, parameters=55_050),
    messages.PortReserved(task="ps:0", pid=8, port=4711),
    messages.ServerReady(task="ps:0"),
    messages.PortClash(task="ps:0", port=4711),
    messages.WarmStarted(task="worker:0", record=OUTCOME.warmups[0]),
    messages.WarmedUp(task="worker:0", record=OUTCOME.warmups[0]),
    messages.Progress(
        task="worker:0", epoch=1, step=10, steps_per_epoch=550, examples_per_s=1e4, loss=2.3
    ),
    messages.EpochEnd(task="worker:0", record=OUTCOME.epochs[0]),
    messages.Trained(task="worker:0", updates_pushed=1150),
    messages.Served(task="ps:0", cpu_s=2.5, updates_applied=1150),
    messages.Checkpointed(task="ps:0", updates=600, duration_s=0.002),
    messages.CheckpointFailed(task="ps:0", cause="OSError: no space"),
    messages.Evaluated(task="worker:0", record=OUTCOME.evaluations[-1]),
    messages.Diverged(task="worker:1", record=Divergence("worker:1", 2, 17)),
    messages.Responding(task="worker:1", cores=0.01),
    messages.Log(task="worker:0", line="a line\nof two, with ünïcode"),
    messages.RoleFailed(task="worker:0", cause="ValueError: no"),
    messages.RoleExited(task="worker:0", code=-9),
    messages.HostUsed(task="agent", use=make_use(clock_mhz=(2000.0, 2100.0))),
    messages.AgentFailed(task="agent", cause="no such model"),
]


def name(message: object) -> str:
    return type(message).__name__


def test_the_examples_here_are_of_every_order_and_event() -> None:
    assert {type(order) for order in ORDERS} == set(get_args(messages.AnyOrder))
    assert {type(event) for event in EVENTS} == set(get_args(messages.AnyEvent))


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_an_order_is_one_line_and_comes_back_as_it_was(order: messages.Order) -> None:
    line = messages.encode(order)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert messages.decode_order(line) == order


@pytest.mark.parametrize("event", EVENTS, ids=name)
def test_an_event_is_one_line_and_comes_back_as_it_was(event: messages.Event) -> None:
    line = messages.encode(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert messages.decode_event(line) == event


@pytest.mark.parametrize(
    ("decode", "fields", "complaint"),
    [
        (messages.decode_order, {"order": "stop", "gently": True}, "unknown field `gently`"),
        (messages.decode_order, {"order": "explode"}, "Invalid value 'explode'"),
        (messages.decode_order, {"order": "start", "tasks": ["ps:0"]}, "missing required field"),
        (
            messages.decode_order,
            {"event": "server_ready", "task": "ps:0"},
            "missing required field",
        ),
        (messages.decode_event, {"event": "server_ready", "task": "a", "x": 1}, "field `x`"),
        (messages.decode_event, {"event": "trained", "task": "w", "updates_pushed": "9"}, "`int`"),
    ],
)
def test_a_message_that_this_version_does_not_know_is_refused(
    decode: Any, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(msgspec.DecodeError, match=re.escape(complaint)):
        decode(msgspec.json.encode(fields))


def test_an_unknown_field_deep_in_an_order_is_refused_too() -> None:
    order = msgspec.to_builtins(messages.Prepare(trial=make_order()))
    order["trial"]["protocol"]["nesterov"] = True
    with pytest.raises(msgspec.DecodeError, match="nesterov"):
        messages.decode_order(msgspec.json.encode(order))


@pytest.mark.parametrize(
    ("divergence", "text"),
    [
        (Divergence("worker:1", 2, 17), "loss is not finite at step 17 of epoch 2 (worker:1)"),
        (Divergence("worker:0", 0, 3), "loss is not finite at step 3 before epoch 1 (worker:0)"),
        (
            Divergence("worker:0", 1, 550, "parameters"),
            "parameters are not finite at step 550 of epoch 1 (worker:0)",
        ),
    ],
)
def test_a_divergence_names_quantity_place_and_worker(divergence: Divergence, text: str) -> None:
    assert str(divergence) == text
