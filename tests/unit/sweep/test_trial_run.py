from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.factories import make_ready, make_use
from support.fake_agent import (
    DIED,
    GOOD,
    PS_CPU_S,
    WARM_START_STEPS,
    FakeAgent,
    finish,
    train,
    train_all,
)

from dnnbench.analysis.trial_figures import measure
from dnnbench.errors import HostError
from dnnbench.sweep import trial_events, trial_run
from dnnbench.sweep.inbox import Arrival
from dnnbench.trial.messages import (
    AgentFailed,
    AnyEvent,
    Connect,
    Diverged,
    EpochEnd,
    Finish,
    Go,
    Leave,
    Log,
    Order,
    PortClash,
    Prepare,
    Prepared,
    Progress,
    Respond,
    Responding,
    RoleExited,
    RoleFailed,
    ServerReady,
    Start,
    Stop,
    Trained,
    WarmStart,
    WarmUp,
)
from dnnbench.trial.outcome import Divergence, WarmupRecord
from dnnbench.trial.spec import ProtocolSpec

if TYPE_CHECKING:
    from support.fake_agent import Answer
from support.fake_cluster import FakeCluster

PATIENCE_S = 0.05


class Cluster(FakeCluster):
    """Hosts whose trials fail at the loss of a worker."""

    def __init__(self, answers: dict[type[Order], Answer], hosts: int = 1, **limits: Any) -> None:
        super().__init__(answers, hosts, **({"on_worker_loss": "fail"} | limits))


def silent(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return []


def sent(agent: FakeAgent) -> list[type[Order]]:
    return [type(order) for order in agent.sent]


@pytest.fixture(autouse=True)
def _short_hindsight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_events, "_HINDSIGHT_S", PATIENCE_S)


def test_a_good_trial_passes_every_gate_once_and_kills_nobody() -> None:
    cluster = Cluster({})
    outcome = cluster.run()
    assert outcome.status == "ok"
    assert outcome.failure is None
    assert sent(cluster.agent) == [Prepare, Start, Connect, WarmUp, Go, Finish, Leave]
    assert cluster.agent.running == []
    assert outcome.updates_pushed == 2 * 100 + 2 * 50
    assert outcome.updates_applied == [300]
    assert [record.task for record in outcome.warmups] == ["worker:0", "worker:1"]
    assert [record.test_accuracy for record in outcome.evaluations] == [0.91]
    assert 0 <= outcome.start_up_s <= outcome.start_up_s + outcome.training_s <= outcome.duration_s
    assert {type(event) for event in cluster.watched} >= {Prepared, EpochEnd, RoleExited}
    assert outcome.use == dict.fromkeys(outcome.placement.values(), make_use())


def test_in_a_warm_start_worker_0_trains_before_anybody_warms_up() -> None:
    cluster = Cluster({}, hosts=2)
    outcome = cluster.run(nodes=4, warm_start_epochs=3)
    assert outcome.status == "ok"
    for agent in cluster.fakes.values():
        assert sent(agent) == [Prepare, Start, Connect, WarmStart, WarmUp, Go, Finish, Leave]
    assert outcome.warm_start == WarmupRecord("worker:0", WARM_START_STEPS, 0.5)
    assert {record.task for record in outcome.warmups} == {"worker:0", "worker:1", "worker:2"}
    assert Cluster({}).run().warm_start is None


def test_a_warm_start_without_progress_fails_the_trial() -> None:
    cluster = Cluster({WarmStart: silent}, stall_timeout_s=PATIENCE_S)
    outcome = cluster.run(warm_start_epochs=1)
    assert outcome.status == "failed"
    assert outcome.failure
    waited = f"waited {PATIENCE_S} s for progress of worker:0 on host-0"
    assert outcome.failure.cause == f"{waited}; every task responds"
    assert cluster.agent.running == []


def test_the_parameter_servers_cpu_seconds_are_shared_out_by_steps() -> None:
    outcome = Cluster({}).run(nodes=4, parameter_servers=2)
    shares = {(r.task, r.epoch): r.parameter_server_cpu_s for r in outcome.epochs}
    assert outcome.parameter_server_cpu_s == 2 * PS_CPU_S
    assert shares == pytest.approx(
        {("worker:0", 1): 2.0, ("worker:0", 2): 2.0, ("worker:1", 1): 1.0, ("worker:1", 2): 1.0}
    )


def test_each_host_starts_its_tasks_and_all_learn_every_address() -> None:
    cluster = Cluster({}, hosts=2)
    assert cluster.run(nodes=4, cores=6).status == "ok"
    starts = [agent.sent[1] for agent in cluster.fakes.values()]
    assert starts == [
        Start(tasks=["ps:0", "worker:1"], threads=3),
        Start(tasks=["worker:0", "worker:2"], threads=3),
    ]
    for agent in cluster.fakes.values():
        connect = agent.sent[2]
        assert isinstance(connect, Connect)
        assert connect.cluster.as_dict() == {
            "ps": ["10.0.0.0:4000"],
            "worker": ["10.0.0.1:4000", "10.0.0.0:4001", "10.0.0.1:4001"],
        }


def test_roles_that_outnumber_the_cores_still_get_a_thread_each() -> None:
    cluster = Cluster({})
    cluster.run(nodes=4, cores=2)
    start = cluster.agent.sent[1]
    assert isinstance(start, Start)
    assert start.threads == 1


def test_a_worker_killed_by_a_signal_is_named_with_host_signal_and_its_last_lines() -> None:
    def crash(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        lines: list[AnyEvent] = [Log(task="worker:1", line=f"line {n}") for n in range(30)]
        noise = Log(task="worker:0", line="all is well here")
        return [*train("worker:0", 5), *lines, noise, RoleExited(task="worker:1", code=-11)]

    cluster = Cluster({Go: crash})
    outcome = cluster.run()
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.task == "worker:1"
    assert outcome.failure.host == "host-0"
    assert outcome.failure.cause == "killed by signal 11"
    assert outcome.failure.log_tail == [f"line {n}" for n in range(18, 30)]
    assert sent(cluster.agent)[-1] is Stop
    assert cluster.agent.running == []


@pytest.mark.parametrize("gate", [WarmUp, Go, Finish])
def test_a_trial_that_diverges_is_neither_failed_nor_good_and_blames_nobody(
    gate: type[Order],
) -> None:
    first = Divergence("worker:1", 1, 12)

    def diverge(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        later = Divergence("worker:0", 1, 40)
        return [
            Diverged(task="worker:1", record=first),
            RoleExited(task="worker:1", code=0),
            Diverged(task="worker:0", record=later),
            RoleFailed(task="ps:0", cause="UnavailableError: Socket closed"),
        ]

    cluster = Cluster({gate: diverge})
    outcome = cluster.run()
    assert (outcome.status, outcome.divergence, outcome.failure) == ("diverged", first, None)
    assert outcome.evaluations == []
    assert sent(cluster.agent)[-1] is Stop
    assert cluster.agent.running == []
    assert cluster.agents.lost == {}


def lost_contact(task: str) -> RoleFailed:
    return RoleFailed(task=task, cause="UnavailableError: Socket closed")


def test_a_role_that_only_noticed_a_death_does_not_take_the_headline() -> None:
    def parameter_server_dies(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        first: list[AnyEvent] = [lost_contact("worker:0"), RoleExited(task="worker:0", code=1)]
        return [*first, lost_contact("worker:1"), RoleExited(task="ps:0", code=-9)]

    failure = Cluster({Go: parameter_server_dies}).run().failure
    assert failure
    assert (failure.task, failure.cause) == ("ps:0", "killed by signal 9")


def test_a_lost_contact_that_nothing_explains_is_the_headline_itself() -> None:
    failure = Cluster({Go: lambda _agent, _order: [lost_contact("worker:1")]}).run().failure
    assert failure
    assert (failure.task, failure.cause) == ("worker:1", "UnavailableError: Socket closed")


def test_a_roles_own_exception_is_the_headline_at_once() -> None:
    def fail(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        own = RoleFailed(task="worker:0", cause="ConfigError: a worker has 5 examples")
        return [own, RoleExited(task="ps:0", code=-9)]

    failure = Cluster({WarmUp: fail}).run().failure
    assert failure
    assert (failure.task, failure.cause) == ("worker:0", "ConfigError: a worker has 5 examples")


@pytest.mark.parametrize(("code", "cause"), [(0, "ended before the trial did"), (3, "exit 3")])
def test_a_role_that_ends_early_fails_the_trial_whatever_its_exit_code(
    code: int, cause: str
) -> None:
    failure = (
        Cluster({Go: lambda _agent, _order: [RoleExited(task="ps:0", code=code)]}).run().failure
    )
    assert failure
    assert (failure.task, failure.cause) == ("ps:0", cause)


def test_a_failure_while_evaluating_fails_the_trial() -> None:
    def fail(agent: FakeAgent, order: Finish) -> list[AnyEvent]:
        return [RoleFailed(task="worker:0", cause="OutOfMemory"), *finish(agent, order)]

    assert Cluster({Finish: fail}).run().status == "failed"


def test_an_agent_that_cannot_prepare_says_why() -> None:
    cause = "synthetic-mnist here has another digest"
    cluster = Cluster({Prepare: lambda _agent, _order: [AgentFailed(task="agent", cause=cause)]})
    outcome = cluster.run()
    assert str(outcome.failure) == f"agent on host-0: {cause}"
    assert Start not in sent(cluster.agent)


@pytest.mark.parametrize(
    ("unanswered", "waited_for"),
    [
        (Prepare, "Prepared from the agent on host-0"),
        (Start, "PortReserved from ps:0, worker:0, worker:1 and 2 more"),
        (Connect, "ServerReady from ps:0, worker:0, worker:1 and 2 more"),
        (WarmUp, "WarmedUp from worker:0, worker:1, worker:2 and 1 more"),
        (Go, "progress of worker:"),
        (Finish, "the accounts of ps:0, worker:0, worker:1 and 2 more"),
        (Leave, "RoleExited from ps:0"),
    ],
)
def test_nothing_waits_longer_than_its_deadline_and_says_what_for(
    unanswered: type[Order], waited_for: str
) -> None:
    def hang(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        if isinstance(order, Start):
            agent.running += order.tasks
        return []

    cluster = Cluster({unanswered: hang}, ready_timeout_s=PATIENCE_S, stall_timeout_s=PATIENCE_S)
    start_s = time.monotonic()
    outcome = cluster.run(nodes=5)
    assert PATIENCE_S <= time.monotonic() - start_s < 20 * PATIENCE_S
    assert outcome.failure
    assert outcome.failure.cause.startswith(f"waited {PATIENCE_S} s for {waited_for}")
    assert cluster.agent.running == []
    assert (Stop in sent(cluster.agent)) == (unanswered is not Prepare)


def test_the_worker_that_stalls_is_named_though_others_go_on() -> None:
    def one_stalls(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return train("worker:0", 5)

    failure = Cluster({Go: one_stalls}, stall_timeout_s=PATIENCE_S).run().failure
    assert failure
    assert failure.cause == (
        f"waited {PATIENCE_S} s for progress of worker:1 on host-0; it responds, and no "
        "other worker stands still"
    )
    assert (failure.task, failure.host) == ("worker:1", "host-0")


def responding(cores: dict[str, float]) -> Answer:
    return lambda _agent, _order: [
        Responding(task=task, cores=n) for task, n in {"agent": 0.0, **cores}.items()
    ]


@pytest.mark.parametrize(
    ("cores", "found", "task"),
    [
        (
            {"ps:0": 0.0, "worker:0": 0.01},
            "no response from worker:1, worker:2 on host-0",
            None,
        ),
        (
            {"worker:0": 1.0, "worker:1": 0.0, "worker:2": 0.5},
            "no response from ps:0 on host-0",
            "ps:0",
        ),
        (
            {"ps:0": 0.0, "worker:0": 0.01, "worker:1": 0.02, "worker:2": 0.99},
            "all tasks wait but worker:2 on host-0",
            "worker:2",
        ),
        (
            {"ps:0": 0.9, "worker:0": 0.9, "worker:1": 0.9, "worker:2": 0.9},
            "every task responds",
            None,
        ),
    ],
    ids=["two silent", "server silent", "one computes", "all compute"],
)
def test_whoever_holds_up_the_others_is_named_when_all_of_them_stand_still(
    monkeypatch: pytest.MonkeyPatch, cores: dict[str, float], found: str, task: str | None
) -> None:
    monkeypatch.setattr(trial_events, "RESPONSE_S", PATIENCE_S)
    cluster = Cluster({Go: silent, Respond: responding(cores)}, stall_timeout_s=PATIENCE_S)
    failure = cluster.run(nodes=4).failure
    assert failure
    assert failure.cause.startswith(f"waited {PATIENCE_S} s for progress of worker:")
    assert failure.cause.endswith(f" on host-0; {found}")
    assert (failure.task, failure.host) == (task, "host-0" if task else None)
    assert cluster.agent.running == []


@pytest.mark.parametrize(
    ("later", "task", "cause"),
    [
        (RoleFailed(task="worker:1", cause="ResourceExhaustedError: no memory"), "worker:1", "Res"),
        (RoleExited(task="worker:1", code=-9), "worker:1", "killed by signal 9"),
        (RoleFailed(task="worker:1", cause="AbortedError: too"), "worker:0", "UnavailableError"),
    ],
    ids=["failed", "killed", "noticed, too"],
)
def test_the_failure_that_others_notice_is_the_headline_even_if_it_arrives_later(
    later: AnyEvent, task: str, cause: str
) -> None:
    def fail(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        noticed = RoleFailed(task="worker:0", cause="UnavailableError: Socket closed")
        return [noticed, RoleExited(task="worker:0", code=1), later]

    failure = Cluster({Go: fail}).run().failure
    assert failure
    assert failure.task == task
    assert failure.cause.startswith(cause)


def test_the_trials_own_limit_beats_the_limits_of_its_phases() -> None:
    failure = Cluster({Go: silent}, trial_timeout_s=PATIENCE_S).run().failure
    assert failure
    assert failure.cause.startswith(f"waited {PATIENCE_S} s for the end of the trial")


def test_a_replica_that_has_other_parameters_in_the_end_is_named_and_warned_of() -> None:
    def train_apart(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        digests = {"worker:0": "aa", "worker:1": "bb", "worker:2": "aa"}
        return [
            msgspec.structs.replace(event, replica_sha256=digests[event.task])
            if isinstance(event, Trained)
            else event
            for event in train_all(agent, order)
        ]

    outcome = Cluster({Go: train_apart}).run(
        protocol=ProtocolSpec("all-reduce"), parameter_servers=0
    )
    assert outcome.status == "ok"
    assert outcome.differing_replicas == ["worker:1"]
    assert [w for w in measure(outcome).warnings if "differ" in w] == [
        f"{outcome.order.id}: the final parameters of worker:1 differ from those of worker:0"
    ]
    assert Cluster({}).run().differing_replicas == []


def clashes(times: int) -> Answer:
    """Clash as a role does, this often; then connect."""
    left = iter(range(times))

    def connect(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        if next(left, None) is None:
            return GOOD[Connect](agent, order)
        return [
            ServerReady(task="ps:0"),
            PortClash(task="worker:0", port=4001),
            RoleFailed(task="worker:0", cause="UnknownError: Could not start gRPC server"),
            RoleExited(task="worker:0", code=1),
        ]

    return connect


def test_roles_whose_port_was_taken_start_again_on_other_ports() -> None:
    cluster = Cluster({Connect: clashes(2)})
    outcome = cluster.run()
    assert outcome.status == "ok"
    once = [Start, Connect]
    assert sent(cluster.agent) == [
        *(Prepare, *once, Stop, *once, Stop, *once),
        *(WarmUp, Go, Finish, Leave),
    ]
    *_, last = (order for order in cluster.agent.sent if isinstance(order, Connect))
    assert last.cluster.ps == ["10.0.0.0:4006"]


def test_ports_that_are_always_taken_fail_the_trial() -> None:
    cluster = Cluster({Connect: clashes(99)})
    outcome = cluster.run()
    assert outcome.failure
    assert outcome.failure.cause == "no free port for every role in 3 attempts"
    assert sent(cluster.agent).count(Start) == 3
    assert cluster.agent.running == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "TEAR_DOWN_TIMEOUT_S", PATIENCE_S)


def one_survives(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return agent.exits(agent.workers(), -9)


@pytest.mark.usefixtures("hasty")
def test_the_tear_down_waits_for_every_exit_and_a_host_where_a_role_survives_is_lost() -> None:
    cluster = Cluster({Go: silent, Stop: one_survives}, stall_timeout_s=PATIENCE_S)
    failure = cluster.run().failure
    assert failure
    survives = f"ps:0 on host-0 still there {PATIENCE_S} s after the kill"
    assert failure.host == "host-0"
    assert failure.cause.startswith(f"{survives} (waited {PATIENCE_S} s for progress of worker:")
    assert [error.problem for error in cluster.agents.lost.values()] == [survives]


@pytest.mark.usefixtures("hasty")
def test_a_tear_down_that_fails_does_not_hide_why_there_was_one() -> None:
    def fail(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return [RoleFailed(task="worker:0", cause="OutOfMemory")]

    cluster = Cluster({Go: fail, Stop: one_survives})
    failure = cluster.run().failure
    assert failure
    assert (failure.task, failure.cause) == ("worker:0", "OutOfMemory")
    assert cluster.agents.lost.keys() == {"host-0"}


def test_an_interrupt_tears_down_before_it_goes_on() -> None:
    def interrupt(event: AnyEvent) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    cluster = Cluster({})
    cluster.watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        cluster.run()
    assert sent(cluster.agent)[-1] is Stop
    assert cluster.agent.running == []


@pytest.mark.usefixtures("hasty")
def test_an_interrupt_is_not_lost_in_a_tear_down_that_fails() -> None:
    def interrupt(event: AnyEvent) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    cluster = Cluster({Stop: silent})
    cluster.watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        cluster.run()


def test_a_lost_host_fails_the_trial_and_every_other_host_is_torn_down() -> None:
    def die(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        if agent.host == "host-1":
            agent.die()
            return []
        return train_all(agent, order)

    cluster = Cluster({Go: die}, hosts=3)
    outcome = cluster.run(nodes=6)
    failure = outcome.failure
    assert failure
    assert (outcome.status, failure.host, failure.cause) == ("failed", "host-1", DIED)
    assert str(failure) == f"host-1: {DIED}"
    for name in ("host-0", "host-2"):
        assert sent(cluster.fakes[name])[-1] is Stop
        assert cluster.fakes[name].running == []
    assert cluster.agents.lost.keys() == {"host-1"}
    assert outcome.duration_s < trial_run.TEAR_DOWN_TIMEOUT_S / 3  # nobody waits for its roles


def test_a_host_that_is_gone_when_an_order_is_sent_fails_the_trial_too() -> None:
    cluster = Cluster({}, hosts=2)
    cluster.fakes["host-1"].is_gone = True
    failure = cluster.run().failure
    assert failure
    assert (failure.host, failure.cause) == ("host-1", "the agent is gone")


@pytest.mark.usefixtures("hasty")
def test_a_silent_host_explains_what_the_others_noticed() -> None:
    def noticed(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return [lost_contact("worker:1")] if agent.host == "host-0" else []

    def stop(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        return GOOD[Stop](agent, order) if agent.host == "host-0" else []

    cluster = Cluster({Go: noticed, Stop: stop}, hosts=2)
    failure = cluster.run(nodes=4).failure
    assert failure
    assert failure.host == "host-1"
    assert failure.cause == (
        f"worker:0, worker:2 on host-1 still there {PATIENCE_S} s after the kill "
        "(worker:1 on host-0: UnavailableError: Socket closed)"
    )


def test_an_agent_that_does_not_answer_is_not_asked_again() -> None:
    def prepare(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        return GOOD[Prepare](agent, order) if agent.host == "host-0" else []

    cluster = Cluster({Prepare: prepare}, hosts=2, ready_timeout_s=PATIENCE_S)
    failure = cluster.run().failure
    assert failure
    assert failure.cause == f"waited {PATIENCE_S} s for Prepared from the agent on host-1"
    assert cluster.agents.lost.keys() == {"host-1"}


def test_a_host_that_takes_no_part_may_go_without_harm_and_is_remembered() -> None:
    def other_dies(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        cluster.fakes["host-1"].die()
        return train_all(agent, order)

    cluster = Cluster({Go: other_dies}, hosts=2)
    late = Log(task="worker:9", line="of no trial that runs")
    cluster.inbox.put(Arrival("host-1", late))
    assert cluster.run(on=1).status == "ok"
    assert late not in cluster.watched
    assert [str(error) for error in cluster.agents.lost.values()] == [f"host-1: {DIED}"]


def test_a_host_that_goes_between_two_trials_is_known_before_the_next() -> None:
    cluster = Cluster({}, hosts=2)
    assert cluster.run().status == "ok"
    cluster.agents.drain()
    assert cluster.agents.lost == {}
    cluster.fakes["host-0"].die()
    cluster.agents.drain()
    assert cluster.agents.lost.keys() == {"host-0"}


def test_tasks_take_the_ports_that_are_held_on_their_host_in_order() -> None:
    cluster = Cluster({}, hosts=2)
    cluster.fakes["host-0"].ports = [23004, 23001, 23002]
    cluster.run(nodes=4)
    starts = [agent.sent[1] for agent in cluster.fakes.values()]
    assert starts == [
        Start(tasks=["ps:0", "worker:1"], threads=1, ports={"ps:0": 23004, "worker:1": 23001}),
        Start(tasks=["worker:0", "worker:2"], threads=1, ports=None),
    ]


def test_a_host_that_holds_too_few_ports_is_named() -> None:
    cluster = Cluster({})
    cluster.agent.ports = [23000]
    failure = cluster.run().failure
    assert str(failure) == "host-0: 3 tasks need one port each, only 1 are held here"
    assert Start not in sent(cluster.agent)


def test_the_next_trial_is_not_touched_by_a_failed_one() -> None:
    calls = iter(range(2))

    def fail_once(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        if next(calls) == 0:
            return [RoleExited(task="worker:0", code=-6)]
        return train_all(agent, order)

    cluster = Cluster({Go: fail_once})
    assert cluster.run().status == "failed"
    assert cluster.run().status == "ok"


def test_agents_are_awaited_on_every_host() -> None:
    cluster = Cluster({}, hosts=2, ready_timeout_s=PATIENCE_S)
    for pid, host in enumerate(cluster.fakes):
        cluster.inbox.put(Arrival(host, make_ready(pid)))
    assert [r.pid for r in cluster.await_ready().values()] == [0, 1]


def test_agents_that_are_late_or_lost_do_not_keep_the_others_from_working() -> None:
    cluster = Cluster({}, hosts=4, ready_timeout_s=PATIENCE_S)
    cluster.fakes["host-2"].die()
    for host in ("host-3", "host-1"):
        cluster.inbox.put(Arrival(host, make_ready()))
    assert list(cluster.await_ready()) == ["host-1", "host-3"]
    lost = cluster.agents.lost
    assert list(lost) == ["host-0", "host-2"]
    assert lost["host-0"].problem == f"expected the agent within {PATIENCE_S} s"
    assert lost["host-2"].problem == DIED


def test_an_agent_that_ends_while_others_are_awaited_is_lost() -> None:
    cluster = Cluster({}, hosts=2, ready_timeout_s=PATIENCE_S)
    cluster.inbox.put(Arrival("host-0", make_ready()))
    cluster.fakes["host-0"].die()
    cluster.inbox.put(Arrival("host-1", make_ready()))
    assert list(cluster.await_ready()) == ["host-1"]


def test_no_agent_at_all_is_an_error_that_names_them() -> None:
    cluster = Cluster({}, hosts=3, ready_timeout_s=PATIENCE_S)
    cluster.fakes["host-1"].die()
    with pytest.raises(HostError) as caught:
        cluster.await_ready()
    late = f"expected the agent within {PATIENCE_S} s"
    assert str(caught.value) == (
        f"host-0: {late}; also missing: host-1 ({DIED}), host-2 ({late}); "
        "raise [run] ready_timeout_s if the host is slow"
    )
