from __future__ import annotations

import os
import signal
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from support.factories import make_ready
from support.fake_agent import DIED, FakeAgent, train_all
from support.stage import Stage

from dnnbench.errors import HostError, LimitError, TrialError
from dnnbench.sweep.limits import Limit
from dnnbench.sweep.runner import signals_interrupt
from dnnbench.trial.messages import AnyEvent, Diverged, Log, Order, Progress, RoleExited
from dnnbench.trial.outcome import Divergence

if TYPE_CHECKING:
    from pathlib import Path


TRIALS = 4


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def fleet(tmp_path: Path) -> Stage:
    """5 hosts, one of them to spare; 2 trials each of 2 and of 4 nodes."""
    options = {"sweep.nodes": "2,4", "sweep.protocols": "downpour"}
    return Stage(tmp_path, hosts=5, **options)


def crash(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    log = Log(task="worker:1", line="no memory left")
    return [log, RoleExited(task="worker:1", code=-9)]


def lose_agent(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    agent.die()
    return []


def test_a_trial_that_would_end_past_a_limit_is_not_started_nor_is_any_after_it(
    stage: Stage,
) -> None:
    asked: list[float] = []

    def is_past(end_s: float) -> bool:
        asked.append(end_s)
        return len(asked) > 2

    stage.limits = [Limit("--max-cost 5", is_past)]
    with pytest.raises(LimitError, match="would end past --max-cost 5"):
        stage.run()
    assert stage.stored() == ["ok"] * 2
    assert len(asked) == 3
    stage.limits = []
    stage.run()
    assert stage.stored() == ["ok"] * 4


def test_every_outcome_is_stored_before_the_next_trial_starts(stage: Stage) -> None:
    outcomes = stage.run()
    assert stage.watcher.told == [
        ("4 of 4", 0),
        ("importing TensorFlow", 0),
        *chain.from_iterable([("started", n), ("ok", n + 1)] for n in range(TRIALS)),
    ]
    assert outcomes == stage.store.outcomes()
    assert [outcome.order for outcome in outcomes] == stage.store.plan.orders
    assert len(stage.agents) == 1
    assert stage.agents[0].is_closed
    (session,) = stage.store.sessions()
    assert session.load_after is not None


def test_a_failed_trial_is_stored_with_its_log_and_run_again_later(stage: Stage) -> None:
    stage.run(train_all, crash)
    assert stage.stored() == ["ok", "failed", "ok", "ok"]
    failed = stage.store.outcomes()[1]
    assert failed.failure
    assert failed.failure.cause == "killed by signal 9"
    folder = stage.store.path / "trials" / failed.order.id
    assert (
        folder / "logs" / "worker-1.log"
    ).read_text() == "worker:1 on localhost | no memory left\n"
    assert b'"role_exited"' in (folder / "events.jsonl").read_bytes()

    (again,) = stage.run()
    assert (again.order, again.status) == (failed.order, "ok")
    assert stage.store.pending() == []
    assert len(stage.store.sessions()) == 2


def test_a_lost_agent_costs_its_trial_and_is_replaced(stage: Stage) -> None:
    stage.run(lose_agent)
    assert stage.stored() == ["failed", "ok", "ok", "ok"]
    first, second = stage.agents
    assert first.is_closed
    assert second.is_closed
    failure = stage.store.outcomes()[0].failure
    assert failure
    assert (failure.host, failure.cause) == ("localhost", DIED)


def test_three_failures_in_a_row_end_the_sweep_and_the_rest_stays_pending(stage: Stage) -> None:
    with pytest.raises(
        TrialError, match=r"3 trials in a row failed, .*killed by signal 9"
    ) as error:
        stage.run(crash, crash, crash)
    assert "--resume" in str(error.value)
    assert stage.stored() == ["failed"] * 3
    assert len(stage.store.pending()) == TRIALS
    assert stage.agents[0].is_closed


def diverge(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return [Diverged(task="worker:0", record=Divergence("worker:0", 1, 3))]


def test_a_diverged_trial_is_a_result_on_agents_that_go_on_and_is_not_run_again(
    stage: Stage,
) -> None:
    outcomes = stage.run(diverge, diverge, diverge, train_all)
    assert [outcome.status for outcome in outcomes] == ["diverged"] * 3 + ["ok"]
    assert stage.store.outcomes() == outcomes
    assert stage.store.pending() == []
    assert len(stage.agents) == 1


def test_failures_between_good_trials_do_not_end_the_sweep(stage: Stage) -> None:
    stage.run(crash, crash, train_all, crash)
    assert stage.stored() == ["failed", "failed", "ok", "failed"]


def test_an_interrupt_is_stored_and_closes_the_agents(stage: Stage) -> None:
    def interrupt(event: AnyEvent) -> None:
        if isinstance(event, Progress) and stage.stored() == ["ok"]:
            raise KeyboardInterrupt

    stage.watcher.on_event = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.stored() == ["ok", "interrupted"]
    assert stage.agents[0].running == []
    assert stage.agents[0].is_closed
    (session,) = stage.store.sessions()
    assert session.load_after is not None


def test_an_interrupt_before_the_first_order_is_stored_too(stage: Stage) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    stage.watcher.on_start = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.stored() == ["interrupted"]


def test_node_counts_that_fit_run_on_the_first_hosts_that_are_up(fleet: Stage) -> None:
    fleet.down = {"node2"}
    fleet.run()
    assert fleet.by_nodes() == {2: {"ok"}, 4: {"ok"}}
    assert fleet.watcher.noticed == ["node2: connection refused; start sshd"]
    for outcome in fleet.store.outcomes():
        up = ["node1", "node3", "node4", "node5"][: outcome.order.nodes]
        tasks = ["ps:0", *(f"worker:{n}" for n in range(outcome.order.nodes - 1))]
        assert outcome.placement == dict(zip(tasks, up, strict=True))
    assert len(fleet.asked) == 1


def test_node_counts_that_do_not_fit_are_not_run_and_stay_pending(fleet: Stage) -> None:
    fleet.down = {"node5", "node2"}
    outcomes = fleet.run()
    assert fleet.by_nodes() == {2: {"ok"}, 4: {"not run"}}
    left = [outcome for outcome in outcomes if outcome.status == "not run"]
    assert [outcome.order for outcome in left] == fleet.store.pending()
    for outcome in left:
        assert str(outcome.failure) == (
            "node2: connection refused; also missing: node5 (connection refused)"
        )
        assert outcome.failure
        assert outcome.failure.kind == "ssh-unreachable"
        assert (outcome.placement, outcome.duration_s) == ({}, 0.0)
        assert not (fleet.store.path / "trials" / outcome.order.id).exists()
    assert [what for what, _ in fleet.watcher.told].count("started") == 2

    fleet.down = set()
    fleet.run()
    assert fleet.by_nodes() == {2: {"ok"}, 4: {"ok"}}


def test_trials_that_are_not_run_are_no_failures_in_a_row(tmp_path: Path) -> None:
    options = {"sweep.nodes": "2,4", "sweep.protocols": "downpour", "sweep.repeats": 5}
    fleet = Stage(tmp_path, hosts=4, **options)
    fleet.down = {"node4"}
    fleet.run(crash, crash)
    ran = [status for status in fleet.stored() if status != "not run"]
    assert ran == ["failed", "failed", "ok", "ok", "ok"]
    assert fleet.stored().count("not run") == 5


def test_a_host_lost_in_a_trial_fails_it_and_is_waited_for_once(tmp_path: Path) -> None:
    options = {"sweep.nodes": "2,4", "sweep.protocols": "downpour", "sweep.repeats": 3}
    fleet = Stage(tmp_path, hosts=4, **options)

    def node_1_burns(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        if agent.host == "node1":
            fleet.down = {"node1"}
            agent.die()
        return []

    fleet.run(node_1_burns)
    first, *others = fleet.store.outcomes()
    assert first.failure
    assert (first.status, first.failure.host, first.failure.cause) == ("failed", "node1", DIED)
    assert {(o.order.nodes, o.status) for o in others} == {(2, "ok"), (4, "not run")}
    everyone = ["node1", "node2", "node3", "node4"]
    assert fleet.asked == [everyone, everyone]
    assert all(agent.is_closed and not agent.running for agent in fleet.agents)
    assert {host for o in others for host in o.placement.values()} == {"node2", "node3"}


def test_a_host_lost_beside_a_trial_is_replaced_when_it_is_wanted(tmp_path: Path) -> None:
    options = {"sweep.nodes": "2,4", "sweep.protocols": "downpour", "sweep.repeats": 6}
    fleet = Stage(tmp_path, hosts=5, **options)

    def node_4_burns(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        (other,) = (a for a in fleet.agents if a.host == "node4")
        if agent.host == "node1":
            fleet.down = {"node4"}
            other.die()
        return train_all(agent, order)

    nodes = [order.nodes for order in fleet.store.plan.orders]
    small = next(n for n in range(len(nodes)) if nodes[n : n + 2] == [2, 2])
    starts: list[int] = []
    fleet.watcher.on_start = lambda: starts.append(len(fleet.asked))
    fleet.run(*[train_all] * small, node_4_burns)
    assert set(fleet.stored()) == {"ok"}
    wanted = nodes.index(4, small)
    assert starts == [1] * wanted + [2] * (len(nodes) - wanted)
    last = [o for o in fleet.store.outcomes() if o.order.nodes == 4][-1]
    assert list(last.placement.values()) == ["node1", "node2", "node3", "node5"]


def test_another_host_stands_in_for_one_that_is_not_ready_in_time(tmp_path: Path) -> None:
    options = {
        "sweep.nodes": "4",
        "sweep.protocols": "downpour",
        "run.ready_timeout_s": 0.05,
    }
    fleet = Stage(tmp_path, hosts=5, **options)
    fleet.late = {"node3"}
    fleet.run()
    assert set(fleet.stored()) == {"ok"}
    assert fleet.asked[1:] == [["node1", "node2", "node4", "node5"]]
    assert [text.partition(";")[0] for text in fleet.watcher.noticed] == [
        "node3: expected the agent within 0.05 s"
    ]


def test_no_host_at_all_ends_the_sweep_and_leaves_it_pending(fleet: Stage) -> None:
    fleet.down = {f"node{n}" for n in range(1, 6)}
    with pytest.raises(HostError, match=r"node1: connection refused; also .* and 1 more; start"):
        fleet.run()
    assert fleet.stored() == []


def test_every_session_keeps_what_its_hosts_said(fleet: Stage) -> None:
    fleet.down = {"node1"}
    fleet.run()
    (session,) = fleet.store.sessions()
    assert list(session.hosts) == ["node2", "node3", "node4", "node5"]
    assert all(said == make_ready().machine for said in session.hosts.values())
    assert session.load_after is not None


def test_a_signal_that_was_ignored_at_the_start_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with signals_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
