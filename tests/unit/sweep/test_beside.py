"""Trials side by side: each on hosts of its own, in its own thread, with its own end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_agent import FakeAgent, train_all
from support.stage import Stage

from dnnbench.errors import ConfigError, HostError, LimitError, TrialError
from dnnbench.settings.load import load
from dnnbench.sweep.agents import Agents
from dnnbench.sweep.inbox import Arrival, Inbox
from dnnbench.sweep.limits import Limit
from dnnbench.sweep.placement import Host, count_beside, place
from dnnbench.sweep.plan import make_plan
from dnnbench.trial.messages import AnyEvent, Order, Progress, RoleExited
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 20.0


class BesideStage(Stage):
    """A sweep of 4-node trials on 12 hosts, three at once.

    Attributes:
        script: host of a parameter server -> how its trial trains, once; then as ``otherwise``.
        busy: roles on each host whenever three trials train at the same time.
    """

    def __init__(self, path: Path, hosts: int = 12, **options: object) -> None:
        settings = {"sweep.nodes": "4", "sweep.parallel": 3, "sweep.protocols": "downpour"}
        super().__init__(path, hosts, **{"sweep.repeats": 6} | settings | options)
        self.script: dict[str, Callable[[FakeAgent, Order], list[AnyEvent]]] = {}
        self.otherwise: Callable[[FakeAgent, Order], list[AnyEvent]] = train_all
        self.busy: list[list[int]] = []
        self.meet: threading.Barrier | None = None

    def note(self) -> None:
        self.busy.append([len(agent.running) for agent in self.agents])

    def _train(self, agent: FakeAgent, order: Order) -> list[AnyEvent]:
        if "ps:0" in agent.running and self.meet:
            self.meet.wait(DEADLINE_S)
        return self.script.pop(agent.host, self.otherwise)(agent, order)

    def left(self) -> list[str]:
        return [task for agent in self.agents for task in agent.running]


@pytest.fixture
def stage(tmp_path: Path) -> BesideStage:
    return BesideStage(tmp_path)


def crash(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return [RoleExited(task=task, code=-9) for task in list(agent.running)]


def lose_agent(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    agent.die()
    return []


def hang(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return []


def hosts(first: int, last: int) -> dict[str, Callable[[FakeAgent, Order], list[AnyEvent]]]:
    """Return a script in which the trials on these hosts never train."""
    return {f"node{n}": hang for n in range(first, last + 1)}


def test_as_many_trials_as_the_hosts_suffice_for_run_at_once(stage: BesideStage) -> None:
    stage.meet = threading.Barrier(3, action=stage.note)
    outcomes = stage.run()
    assert stage.stored() == ["ok"] * 6
    assert stage.busy == [[1] * 12] * 2  # never two roles on a host, which has one slot
    assert {o.order.id for o in outcomes} == {order.id for order in stage.store.plan.orders}
    assert all(len(set(o.placement.values())) == 4 for o in outcomes)
    assert len(stage.asked) == 1


def test_past_a_limit_the_trials_that_run_are_awaited_and_none_is_started(
    stage: BesideStage,
) -> None:
    stage.meet = threading.Barrier(3)  # three start before any ends
    asked: list[float] = []

    def is_past(end_s: float) -> bool:
        asked.append(end_s)
        return len(asked) > 3

    stage.limits = [Limit("--max-hours 1", is_past)]
    with pytest.raises(LimitError, match="would end past --max-hours 1"):
        stage.run()
    assert stage.stored() == ["ok"] * 3
    assert stage.left() == []
    stage.limits = []
    assert len(stage.run()) == 3
    assert stage.stored() == ["ok"] * 6


def test_a_failed_trial_does_not_touch_the_others(stage: BesideStage) -> None:
    stage.meet = threading.Barrier(3)
    stage.script["node1"] = crash
    stage.run()
    assert sorted(stage.stored()) == ["failed"] + ["ok"] * 5
    (failed,) = [o for o in stage.store.outcomes() if o.status == "failed"]
    assert failed.failure
    assert failed.failure.host == "node1"
    assert stage.left() == []


def test_the_hosts_that_are_left_take_the_trials_of_a_lost_one(tmp_path: Path) -> None:
    stage = BesideStage(tmp_path, hosts=9, **{"sweep.repeats": 5})
    stage.script["node1"] = lose_agent
    stage.run()
    assert sorted(stage.stored()) == ["failed"] + ["ok"] * 4
    used = [set(o.placement.values()) for o in stage.store.outcomes() if o.status == "ok"]
    assert any("node9" in hosts for hosts in used)
    assert stage.store.plan.parallel == 2


def test_a_trial_for_which_too_few_hosts_are_left_is_not_run(tmp_path: Path) -> None:
    options = {"sweep.nodes": "2,4", "sweep.repeats": 2}
    stage = BesideStage(tmp_path, hosts=4, **options)
    stage.down = {"node2"}
    stage.run()
    assert stage.by_nodes() == {2: {"ok"}, 4: {"not run"}}


def test_ctrl_c_ends_every_trial_and_stores_each(stage: BesideStage) -> None:
    def interrupt(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        signal.raise_signal(signal.SIGINT)
        return []

    stage.script = hosts(1, 12)
    stage.meet = threading.Barrier(3)
    stage.script["node9"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.stored() == ["interrupted"] * 3
    assert stage.left() == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("n04")] == []
    stage.meet = None
    assert {outcome.status for outcome in stage.run()} == {"ok"}
    assert stage.store.pending() == []


def test_a_bug_in_one_trial_ends_the_sweep_and_the_others_with_it(stage: BesideStage) -> None:
    def bug(event: AnyEvent) -> None:
        if isinstance(event, Progress):
            raise ZeroDivisionError

    stage.script = hosts(5, 12)
    stage.watcher.on_event = bug
    with pytest.raises(ZeroDivisionError):
        stage.run()
    assert sorted(stage.stored()) == ["failed", "interrupted", "interrupted"]
    assert stage.left() == []


def test_three_failures_in_a_row_end_the_sweep(tmp_path: Path) -> None:
    stage = BesideStage(tmp_path, **{"run.void_after": 0})
    stage.otherwise = crash
    with pytest.raises(TrialError, match="3 trials in a row failed"):
        stage.run()
    assert stage.left() == []


def test_hosts_that_are_one_machine_are_noted(stage: BesideStage) -> None:
    stage.boot_id = "b00t"
    stage.run()
    (note,) = stage.watcher.noticed
    assert note.endswith("are one machine: trials side by side share its cores")


def test_on_this_machine_alone_side_by_side_is_refused() -> None:
    config = load(None, {}, {"sweep.parallel": "2"}).config
    with pytest.raises(ConfigError, match="expected hosts for 2 trials side by side"):
        make_plan(config, DataSpec("mnist", None, "d1"), "sweep", cores=2.0)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.integers(2, 6),
    st.integers(1, 4),
)
def test_trials_side_by_side_share_no_host(slots: list[int], nodes: int, most: int) -> None:
    hosts = [Host(f"h{n}", f"10.0.0.{n}", size) for n, size in enumerate(slots)]
    count = count_beside(nodes, 1, hosts, most)
    used: set[str] = set()
    for _ in range(count):
        placement = place(nodes, 1, [host for host in hosts if host.name not in used])
        assert used.isdisjoint(placement.values())
        used |= set(placement.values())
    assert count <= most
    if count < most:
        free = [host for host in hosts if host.name not in used]
        assert sum(host.slots or 0 for host in free) < nodes


@pytest.fixture
def two_agents() -> Iterator[tuple[Agents, Inbox]]:
    inbox = Inbox()
    hosts = [Host("a", "10.0.0.1", 1), Host("b", "10.0.0.2", 1)]
    agents = [FakeAgent(host.name, inbox, {}) for host in hosts]
    with Agents(agents, hosts, inbox, release=lambda: None) as both:
        yield both, inbox


def test_what_a_lent_host_sends_reaches_its_trial_alone(
    two_agents: tuple[Agents, Inbox],
) -> None:
    agents, inbox = two_agents
    with agents.share(["a"]) as share:
        inbox.put(Arrival("a", RoleExited(task="ps:0", code=0)))
        inbox.put(Arrival("b", HostError("gone", where="b")))
        agents.drain()
        arrival = share.next(share.now_s(), ["a"])
        assert arrival
        assert arrival.host == "a"
        assert list(agents.lost) == ["b"]
        assert share.lost == {}
        inbox.put(Arrival("a", HostError("gone, too", where="a")))  # nobody reads it any more
    agents.drain()
    assert list(agents.lost) == ["a", "b"]


def test_what_a_lent_host_had_sent_unread_is_dropped_when_it_comes_back(
    two_agents: tuple[Agents, Inbox],
) -> None:
    agents, inbox = two_agents
    with agents.share(["a"]):
        inbox.put(Arrival("a", RoleExited(task="ps:0", code=0)))
    assert agents.next(agents.now_s(), ["a"]) is None


def test_a_flood_from_one_trial_does_not_hold_up_another(
    two_agents: tuple[Agents, Inbox],
) -> None:
    agents, inbox = two_agents
    event = RoleExited(task="ps:0", code=0)
    with agents.share(["a"]) as first, agents.share(["b"]) as second:
        inbox.put(Arrival("a", event), 1 << 30)
        flood = threading.Thread(target=inbox.put, args=(Arrival("a", event), 1 << 30))
        flood.start()
        inbox.put(Arrival("b", event))
        assert second.next(second.now_s(), ["b"])
        assert flood.is_alive()
        assert first.next(first.now_s(), ["a"])
        flood.join(DEADLINE_S)
        assert not flood.is_alive()
