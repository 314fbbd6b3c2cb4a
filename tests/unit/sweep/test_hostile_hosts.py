"""A hostile host: whatever its agent or its relay sends, a trial is ok or fails with one line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.factories import make_ready, make_use
from support.fake_agent import FakeAgent, epoch_end

from dnnbench.cli.views.sweep import QuietView
from dnnbench.data import catalog
from dnnbench.errors import HostError
from dnnbench.settings.load import load
from dnnbench.sweep import results, trial_events, trial_run
from dnnbench.sweep.agents import Agents
from dnnbench.sweep.event_checks import read_event
from dnnbench.sweep.inbox import Arrival, Inbox
from dnnbench.sweep.placement import Host
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.runner import run_sweep
from dnnbench.trial.machine import snapshot
from dnnbench.trial.messages import (
    AgentFailed,
    AnyEvent,
    Checkpointed,
    CheckpointFailed,
    Connect,
    Diverged,
    Evaluated,
    Finish,
    Go,
    HostUsed,
    Leave,
    Log,
    Order,
    PortClash,
    PortReserved,
    Prepare,
    Prepared,
    Progress,
    Responding,
    RoleExited,
    RoleFailed,
    Served,
    ServerReady,
    Start,
    Stop,
    Trained,
    WarmedUp,
    WarmStarted,
    WarmUp,
    encode,
)
from dnnbench.trial.outcome import Divergence, EvaluationRecord, WarmupRecord
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dnnbench.trial.outcome import TrialOutcome

PATIENCE_S = 0.02
SNAPSHOT = snapshot()
DATA = DataSpec(catalog.SYNTHETIC, None, catalog.SYNTHETIC_DIGEST)
RESOLVED = load(
    None,
    {},
    {
        "sweep.nodes": "3",
        "sweep.protocols": "downpour",
        "sweep.repeats": 1,
        "run.ready_timeout_s": PATIENCE_S,
        "run.stall_timeout_s": PATIENCE_S,
    },
)
HOSTS = [Host(f"node{n}", f"10.0.0.{n}", slots=2) for n in (1, 2)]
EVENTS: list[AnyEvent] = [
    make_ready(),
    Prepared(task="agent", duration_s=0.1, parameters=10),
    PortReserved(task="worker:0", pid=1, port=4000),
    ServerReady(task="worker:0"),
    PortClash(task="worker:0", port=4000),
    WarmStarted(task="worker:0", record=WarmupRecord("worker:0", 10, 0.1)),
    WarmedUp(task="worker:0", record=WarmupRecord("worker:0", 10, 0.1)),
    Progress(task="worker:0", epoch=1, step=1, steps_per_epoch=2, examples_per_s=1.0, loss=1.0),
    epoch_end("worker:0", 1, 5),
    Trained(task="worker:0", updates_pushed=10),
    Diverged(task="worker:0", record=Divergence("worker:0", 1, 1)),
    Served(task="ps:0", cpu_s=1.0, updates_applied=10),
    Checkpointed(task="ps:0", updates=10, duration_s=0.1),
    CheckpointFailed(task="ps:0", cause="OSError: No space left on device"),
    Evaluated(task="worker:0", record=EvaluationRecord(None, 10, 0.9, 0.9)),
    Responding(task="worker:0", cores=0.5),
    *[Log(task="worker:0", line="hello")] * 4,  # its task names a file
    RoleFailed(task="worker:0", cause="UnavailableError: Socket closed"),
    RoleExited(task="worker:0", code=0),
    HostUsed(task="agent", use=make_use()),
    AgentFailed(task="agent", cause="no data"),
]
TASKS = [
    *("agent", "ps:0", "worker:0", "worker:1", "worker:9", "ps", ":", "", "zz", "a\0b"),
    *("../../../planted", "/tmp/planted", "nodir/x", "x" * 300, "\x1b[2J", "worker:" + "9" * 99),
]
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(TASKS),
    st.integers(),
    st.sampled_from([0, -1, 1, 2, 10**15, 10**18, 2**63, 2**64, 10**30]),
    st.floats(),
    st.text(max_size=20),
    st.none(),
    st.booleans(),
    st.lists(st.integers(-1, 3), max_size=4),
    st.sampled_from([[1] * 70_000, {"counts": [0] * 70_000}, "y" * 20_000, [[[]]] * 9, {}]),
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """An event with a few fields that are odd, or something else."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.binary(max_size=50), ODD.map(as_json)))
    event = json.loads(encode(draw(st.sampled_from(EVENTS))))
    if draw(st.booleans()):
        event["task"] = draw(st.sampled_from(TASKS))
    places = [event, *(value for value in event.values() if isinstance(value, dict))]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.sampled_from(places))
        place[draw(st.sampled_from([*sorted(place), "stranger"]))] = draw(ODD)
    return as_json(event)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


MOMENTS: list[type[Order]] = [Prepare, Start, Connect, WarmUp, Go, Finish, Leave, Stop]


class HostileAgent(FakeAgent):
    """An agent that at one moment sends what it likes: before, or in place of, what is right."""

    def __init__(
        self, host: str, inbox: Inbox, moment: type[Order], sent: list[bytes], *, silent: bool
    ) -> None:
        super().__init__(host, inbox, {})
        self._moment = moment
        self._lines = sent
        self._silent = silent

    def send(self, order: Order) -> None:
        if isinstance(order, self._moment):
            for line in self._lines:
                self.inbox.put(self._read(line))
            if self._silent:
                if isinstance(order, Start):
                    self.running += order.tasks
                return
        super().send(order)

    def _read(self, line: bytes) -> Arrival:
        try:
            return Arrival(self.host, read_event(self.host, line))
        except HostError as error:
            return Arrival(self.host, error)


class Source:
    """Two hosts, of which the second is hostile."""

    def __init__(self, moment: type[Order], sent: list[bytes], *, silent: bool) -> None:
        self._make: Callable[[str, Inbox], FakeAgent] = lambda host, inbox: (
            HostileAgent(host, inbox, moment, sent, silent=silent)
            if host == "node2"
            else FakeAgent(host, inbox, {})
        )

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,
        log_dir: Path,
        notify: Callable[[str], None],
    ) -> Agents:
        del needed, log_dir, notify
        inbox = Inbox()
        agents = [self._make(host.name, inbox) for host in hosts]
        for host in hosts:
            inbox.put(Arrival(host.name, make_ready()))
        return Agents(agents, hosts, inbox, release=lambda: None)


def run(path: Path, source: Source) -> list[TrialOutcome]:
    """Run a sweep of one trial of two workers, the second of them on the hostile host."""
    plan = make_plan(RESOLVED.config, DATA, "sweep", hosts=HOSTS)
    sweep = results.create(path, RESOLVED, plan, SNAPSHOT)
    return run_sweep(sweep, QuietView(), source)


def test_every_kind_of_event_is_among_those_that_are_made_odd() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(AnyEvent))


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "TEAR_DOWN_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr("os.fsync", lambda _fd: None)  # nobody needs these sweeps afterward
    monkeypatch.setattr(trial_events, "_HINDSIGHT_S", PATIENCE_S)
    monkeypatch.setattr(trial_events, "RESPONSE_S", PATIENCE_S)


@pytest.mark.usefixtures("_hasty")
@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    moment=st.sampled_from(MOMENTS),
    sent=st.lists(lines(), min_size=1, max_size=4),
    silent=st.booleans(),
)
def test_whatever_an_agent_sends_the_trial_ends_and_any_cause_is_one_line(
    moment: type[Order], sent: list[bytes], silent: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (outcome,) = run(Path(directory) / "a" / "b", Source(moment, sent, silent=silent))
        found = sorted(path for path in Path(directory).rglob("*") if path.is_file())
        folder = Path(directory) / "a" / "b" / "sweep"
        assert all(folder in path.parents for path in found)
        logs = {path.name for path in folder.rglob("*.log")}
        assert logs <= {"agent.log", "ps-0.log", "worker-0.log", "worker-1.log"}
        for path in folder.rglob("*.log"):
            assert path.read_text().replace("\n", "").isprintable()
    if outcome.status == "diverged":
        assert str(outcome.divergence).isprintable()
    elif outcome.status == "degraded":
        assert all(str(lost).isprintable() for lost in outcome.lost_workers)
        assert outcome.lost_workers
    elif outcome.failure is None:
        assert outcome.status == "ok"
        assert {record.task for record in outcome.epochs} == {"worker:0", "worker:1"}
        assert len(outcome.epochs) == 2 * outcome.order.epochs
    else:
        assert outcome.status == "failed"
        assert str(outcome.failure).isprintable()
        assert not str(outcome.failure).startswith("bug")
