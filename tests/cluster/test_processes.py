"""Whatever ends, and however: it is named at once, and nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from support import PROJECT, SUPPORT, TESTS
from support.real_cluster import HOST, LIMITS, Cluster, small_order

from benchmarks.testbed.processes import Witness, children_of, of_session
from dnnbench.sweep.store import SweepStore
from dnnbench.sweep.trial_events import RESPONSE_S
from dnnbench.trial.messages import AnyEvent, PortReserved, Progress, RoleExited
from dnnbench.trial.protocols import parameter_servers_of
from dnnbench.trial.spec import ProtocolSpec, TrialSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STARTING = "importing TensorFlow"
GONE_S = 5.0
NOTICED_S = 5.0
DOWNPOUR = ProtocolSpec("downpour")
LONG = small_order(DOWNPOUR, 3, epochs=10_000)
WITHOUT_SERVER = small_order(ProtocolSpec("all-reduce"), 3, parameter_servers=0, epochs=10_000)
SHORT = small_order(DOWNPOUR, 3)
FAILING = msgspec.structs.replace(LIMITS, on_worker_loss="fail")


class Striker:
    """Sends a signal to a task, or to the agent, at the first progress of a worker."""

    def __init__(self, task: str, number: int, agent_pid: int) -> None:
        self.pids = {"agent": agent_pid}
        self.struck_s = 0.0
        self.witness: Witness | None = None
        self._task = task
        self._number = number

    def __call__(self, event: AnyEvent) -> None:
        if isinstance(event, PortReserved):
            self.pids[event.task] = event.pid
        elif isinstance(event, Progress) and not self.struck_s:
            self.witness = Witness(self.pids.values())
            os.kill(self.pids[self._task], self._number)
            self.struck_s = time.monotonic()


@pytest.mark.parametrize(
    ("order", "task"),
    [
        *((LONG, task) for task in ("worker:0", "worker:1", "ps:0")),
        *((WITHOUT_SERVER, task) for task in ("worker:0", "worker:1", "worker:2")),
    ],
    ids=lambda of: of.protocol.name if isinstance(of, TrialSpec) else of,
)
def test_a_killed_role_is_named_within_seconds_and_the_agent_goes_on(
    cluster: Cluster, order: TrialSpec, task: str
) -> None:
    strike = Striker(task, signal.SIGKILL, cluster.agent_pid)
    outcome = cluster.run(order, strike, FAILING)
    assert time.monotonic() - strike.struck_s < NOTICED_S
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.task == task
    assert outcome.failure.host == HOST
    assert outcome.failure.cause == "killed by signal 9"
    assert of_session(cluster.agent_pid) == [cluster.agent_pid]
    assert cluster.run(SHORT).status == "ok"


@pytest.mark.parametrize("task", ["worker:1", "ps:0"])
@pytest.mark.parametrize(
    "protocol",
    [
        "downpour",
        pytest.param("sync", marks=pytest.mark.long),
        pytest.param("all-reduce", marks=pytest.mark.long),
    ],
)
def test_a_task_that_stands_still_is_named_whoever_waits_for_it(
    cluster: Cluster, protocol: str, task: str
) -> None:
    servers = parameter_servers_of(protocol, 1)
    if task == "ps:0" and not servers:
        task = "worker:0"
    strike = Striker(task, signal.SIGSTOP, cluster.agent_pid)
    limits = msgspec.structs.replace(FAILING, stall_timeout_s=2.0)
    order = small_order(ProtocolSpec(protocol), 3, parameter_servers=servers, epochs=10_000)
    outcome = cluster.run(order, strike, limits)
    assert time.monotonic() - strike.struck_s < 2.0 + RESPONSE_S + NOTICED_S
    assert outcome.failure
    assert outcome.failure.cause.startswith("waited 2 s for progress of worker:")
    assert outcome.failure.cause.endswith(f"; no response from {task} on {HOST}")
    assert (outcome.failure.task, outcome.failure.host) == (task, HOST)
    assert of_session(cluster.agent_pid) == [cluster.agent_pid]


@pytest.mark.parametrize(
    ("task", "number", "restarts"),
    [
        ("worker:1", signal.SIGKILL, 0),
        ("worker:1", signal.SIGSTOP, 0),
        ("worker:0", signal.SIGKILL, 0),
        ("worker:1", signal.SIGKILL, 1),
    ],
    ids=["killed", "hung", "evaluator killed", "killed and started again"],
)
def test_the_others_go_on_without_a_lost_worker(
    cluster: Cluster, task: str, number: int, restarts: int
) -> None:
    order = small_order(DOWNPOUR, 4, epochs=8)
    strike = Striker(task, number, cluster.agent_pid)
    limits = msgspec.structs.replace(LIMITS, stall_timeout_s=5.0, restart_workers=restarts)
    outcome = cluster.run(order, strike, limits)
    assert outcome.status == "degraded", outcome.failure
    (lost,) = outcome.lost_workers
    assert (lost.task, lost.host, lost.is_restarted) == (task, HOST, bool(restarts))
    epochs = {(record.task, record.epoch) for record in outcome.epochs}
    whole = {"worker:0", "worker:1", "worker:2"} - ({task} if not restarts else set())
    assert epochs.issuperset((worker, n) for worker in whole for n in range(1, 9))
    (final,) = [record for record in outcome.evaluations if record.epoch is None]
    assert final.test_accuracy > 0.5  # as the parameters are those that were trained
    assert of_session(cluster.agent_pid) == [cluster.agent_pid]
    assert cluster.run(SHORT).status == "ok"


def test_a_stopped_agent_is_named(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "agent.log")
    try:
        strike = Striker("agent", signal.SIGSTOP, cluster.agent_pid)
        limits = msgspec.structs.replace(LIMITS, stall_timeout_s=2.0)
        failure = cluster.run(LONG, strike, limits).failure
        assert str(failure).startswith(f"{HOST}: no response from the agent")
        assert strike.witness
    finally:
        cluster.close()
    with strike.witness as witness:
        assert witness.alive_after(GONE_S) == []


def test_a_trial_leaves_no_process_but_the_agent_and_every_role_is_a_new_one(
    cluster: Cluster,
) -> None:
    pids: list[int] = []
    for _ in range(2):
        assert cluster.run(SHORT).status == "ok"
        exits = {e.task: e.code for e in cluster.events if isinstance(e, RoleExited)}
        assert exits == {"ps:0": 0, "worker:0": 0, "worker:1": 0}
        assert of_session(cluster.agent_pid) == [cluster.agent_pid]
        pids += [event.pid for event in cluster.events if isinstance(event, PortReserved)]
    assert len(set(pids)) == 6


def test_roles_end_with_a_killed_agent_whose_loss_fails_the_trial(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "agent.log")
    try:
        strike = Striker("agent", signal.SIGKILL, cluster.agent_pid)
        failure = cluster.run(LONG, strike).failure
        assert str(failure).startswith(f"{HOST}: the agent ended with -9")
        assert time.monotonic() - strike.struck_s < NOTICED_S
        assert strike.witness
        with strike.witness as witness:
            assert witness.alive_after(GONE_S) == []
        assert of_session(cluster.agent_pid) == []
    finally:
        cluster.close()


class Controller:
    """A process that runs a sweep, and what it says."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "controller.py"), str(sweep)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{TESTS}"},
        )
        self.agent_pid = 0

    def await_line(self, wanted: str) -> None:
        """Read on until it says this; its agent is known then."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.strip() == wanted:
                break
        else:
            assert self.process.stderr
            pytest.fail(f"ended before {wanted!r}: {self.process.stderr.read()}")
        if children := children_of(self.process.pid):
            (self.agent_pid,) = children

    def witness(self) -> Witness:
        """Hold on to the controller's agent and its roles."""
        processes = of_session(self.agent_pid)
        assert self.agent_pid in processes
        return Witness(processes)

    def end_by(self, number: int) -> int:
        """Send a signal, 0 for none; return the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    controller = Controller(tmp_path / "sweep")
    try:
        yield controller
    finally:
        controller.end_by(signal.SIGKILL)


@pytest.mark.parametrize("moment", [STARTING, "preparing data and graph", "Progress"])
def test_nothing_outlives_a_killed_controller(controller: Controller, moment: str) -> None:
    controller.await_line(moment)
    with controller.witness() as witness:
        assert controller.end_by(signal.SIGKILL) == -signal.SIGKILL
        assert witness.alive_after(GONE_S) == []
    assert of_session(controller.agent_pid) == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGTERM, STARTING), (signal.SIGHUP, "warming up")],
)
def test_a_controller_told_to_end_leaves_nothing(
    controller: Controller, number: int, moment: str
) -> None:
    controller.await_line(moment)
    with controller.witness() as witness:
        assert controller.end_by(number) != 0
        assert witness.alive_after(0) == []
    assert of_session(controller.agent_pid) == []
    assert len(SweepStore(controller.sweep).pending()) == 2
