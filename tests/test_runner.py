from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from factories import make_ready
from fake_agent import FakeAgent, train_all

from dnnbench import config, runner, store
from dnnbench.data import catalogue
from dnnbench.environment import snapshot
from dnnbench.errors import HostError, TrialError
from dnnbench.events import AnyEvent, Go, Log, Order, Progress, RoleExited
from dnnbench.plan import make_plan
from dnnbench.transport.base import Arrival, Inbox
from dnnbench.trial import DataOrder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.plan import Plan
    from dnnbench.trial import TrialOrder, TrialOutcome

TRIALS = 4


class Watcher:
    """Notes what an observer is told, and how many outcomes are stored at that moment."""

    def __init__(self, sweep: store.SweepStore) -> None:
        self.told: list[tuple[str, int]] = []
        self.on_event: Callable[[AnyEvent], None] = lambda _event: None
        self._sweep = sweep

    def _note(self, what: str) -> None:
        self.told.append((what, len(self._sweep.outcomes())))

    def sweep_started(self, plan: Plan, pending: list[TrialOrder]) -> None:
        self._note(f"{len(pending)} of {len(plan.orders)}")

    def phase(self, text: str) -> None:
        if text == "importing TensorFlow":
            self._note(text)

    def trial_started(self, _order: TrialOrder) -> None:
        self._note("started")

    def event(self, _order: TrialOrder, event: AnyEvent) -> None:
        self.on_event(event)

    def trial_ended(self, outcome: TrialOutcome) -> None:
        self._note(outcome.status)


class Stage:
    """A stored sweep of 4 trials, and agents whose training follows a script."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        options = {"sweep.nodes": "3", "sweep.repeats": 2, "sweep.results_dir": str(path)}
        resolved = config.load(None, {}, options)
        data = DataOrder(catalogue.SYNTHETIC, None, catalogue.SYNTHETIC_DIGEST)
        plan = make_plan(resolved.config, data, "sweep")
        self.store = store.create(path, resolved, plan, snapshot())
        self.agents: list[FakeAgent] = []
        self.watcher = Watcher(self.store)
        self._script: Any = iter(())
        patch.setattr(runner, "LocalAgent", self._start_agent)

    def _start_agent(self, host: str, _log_file: Path, inbox: Inbox) -> FakeAgent:
        agent = FakeAgent(host, inbox, {Go: self._train})
        inbox.put(Arrival(host, make_ready()))
        self.agents.append(agent)
        return agent

    def _train(self, agent: FakeAgent, order: Order) -> list[AnyEvent]:
        act = next(self._script)
        events: list[AnyEvent] = act(agent, order)
        return events

    def run(self, *script: Callable[[FakeAgent, Order], list[AnyEvent]]) -> list[TrialOutcome]:
        """Run what is pending; the trials train as the script says, then well."""
        self._script = chain(script, iter(lambda: train_all, None))
        return runner.run_sweep(self.store, self.watcher)

    def stored(self) -> list[str]:
        return [outcome.status for outcome in self.store.outcomes()]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def crash(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    log = Log(task="worker:1", line="no memory left")
    return [log, RoleExited(task="worker:1", code=-9)]


def lose_agent(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    agent.inbox.put(Arrival(agent.host, HostError("the agent ended with -9", where=agent.host)))
    return []


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
    assert (folder / "logs" / "worker-1.log").read_text() == "no memory left\n"
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
    assert failure.cause == "localhost: the agent ended with -9"


def test_three_failures_in_a_row_end_the_sweep_and_the_rest_stays_pending(stage: Stage) -> None:
    with pytest.raises(
        TrialError, match=r"3 trials in a row failed, .*killed by signal 9"
    ) as error:
        stage.run(crash, crash, crash)
    assert "--resume" in str(error.value)
    assert stage.stored() == ["failed"] * 3
    assert len(stage.store.pending()) == TRIALS
    assert stage.agents[0].is_closed


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
