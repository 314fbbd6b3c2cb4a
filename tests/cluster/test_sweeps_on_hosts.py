"""Hosts over SSH as a user types it: provision, launch, run, accidents of all kinds, stop.

The first twelve hosts have a cluster that stands until its test ends it; sweeps on the others make
clusters of their own. Of these, two have a test to themselves, which waits for a host that is
lost while another test's killed controllers are waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.testbed import sshd
from benchmarks.testbed.farm import TIMEOUT_S, TINY, farm, outcomes, taken
from benchmarks.testbed.processes import Witness
from dnnbench.hosts.agents.identity import owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from benchmarks.testbed.farm import Called, Command, Farm

COUNT = 16
ON_STANDING = ["--hosts", "node1,node2", "--nodes", "2"]
ON_OWN = ["--hosts", "node13,node14", "--nodes", "2"]
OWN = ["node13", "node14"]
UNLUCKY = ["node15", "node16"]
DATA = ["--dataset", "synthetic-mnist"]
LONG = [*TINY, "--epochs", "100000"]
SECONDS = [*TINY, "--epochs", "10"]
GONE_S = 30.0
"""Within so long, nothing of a killed controller is left, its agents that stand aside."""
PROMPT_S = 10.0
"""Nobody waits longer for an interrupted command."""
INSTALL_TIMEOUT_S = 600.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Bare hosts that have TensorFlow."""
    with start(COUNT, tmp_path_factory.mktemp("farm")) as hosts:
        hosts.equip()
        yield hosts


@contextlib.contextmanager
def start(count: int, directory: Path, first: int = 2, slots: int = 1) -> Iterator[Farm]:
    # Of this process alone: hosts are taken for as long as a cluster stands on them.
    network = f"127.{1 + os.getpid() % 254}.{os.getpid() // 254 % 256}"
    sites = [sshd.Site(f"{network}.{first + number}") for number in range(count)]
    try:
        with farm(count, directory, slots, sites=sites) as hosts:
            yield hosts
    except sshd.NotInstalledError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def provisioned(place: Farm) -> Called:
    return place.call("provision", *DATA, "--json")


@pytest.fixture(scope="module")
def launched(place: Farm, provisioned: Called) -> Any:
    """What was said of the cluster that stands."""
    del provisioned
    return place.call("launch", "--nodes", "12", *DATA, "--json").document


@pytest.fixture
def seat(place: Farm, request: pytest.FixtureRequest) -> Path:
    """A directory of the test's own."""
    return place.seat(request.node.name)


def states(provision: Called) -> set[str]:
    steps = provision.document["hosts"]
    assert len(steps) == COUNT
    return {step["state"] for done in steps.values() for step in done}


def orphans(place: Farm) -> dict[str, Any]:
    """Return what ``status`` says is left of clusters that are no more."""
    found: dict[str, Any] = place.call("status", "--orphans", "--json").document["orphans"]
    return found


def roles(sweep: Command, trial: str = "") -> dict[str, int]:
    """Return task -> process, once a worker trains in a trial whose name begins so."""
    events = sweep.await_event("progress", trial)
    return {e["task"]: e["pid"] for e in events if e["event"] == "port_reserved"}


# --- the whole of it, in order --------------------------------------------------------------------


def test_the_second_provision_changes_nothing(place: Farm, provisioned: Called) -> None:
    assert states(provisioned) == {"ok", "changed"}
    assert states(place.call("provision", *DATA, "--json")) == {"ok"}


def test_a_launched_cluster_stands_idle_on_12_hosts(place: Farm, launched: Any) -> None:
    hosts = place.names[:12]
    tasks = ["ps:0", *(f"worker:{number}" for number in range(11))]
    assert launched["placement"] == dict(zip(tasks, hosts, strict=True))
    clusters = place.clusters()
    assert [part["host"] for part in clusters] == hosts
    assert {(part["owner"], part["doing"]) for part in clusters} == {(owner(), "idle")}
    assert len({part["cluster"] for part in clusters}) == 1
    shown = place.call("status").out
    assert all(name in shown for name in (*place.names, owner(), "idle", "launch of 12 nodes"))


def test_a_sweep_on_it_tells_which_task_ran_on_which_host(
    place: Farm, launched: Any, seat: Path
) -> None:
    place.call("run", "--nodes", "4,8,12", *TINY, directory=seat)
    placements = {outcome.order.nodes: outcome.placement for outcome in outcomes(seat)}
    whole = list(launched["placement"].items())
    assert placements == {nodes: dict(whole[:nodes]) for nodes in (4, 8, 12)}
    report = place.call("report", "--format", "markdown", directory=seat).out
    (row,) = (line for line in report.splitlines() if line.startswith("| node12 "))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["-", "-", "worker:10"]
    (log,) = seat.glob("results/[!.]*/trials/n12-*/logs/worker-10.log")
    assert log.read_text().startswith("worker:10 on node12 | ")


@pytest.mark.long
def test_trials_side_by_side_run_on_hosts_of_their_own(
    place: Farm, launched: Any, seat: Path
) -> None:
    del launched
    rates = ["--learning-rate", "0.1,0.2,0.3", "--protocols", "downpour"]
    ran = place.call("run", "--nodes", "4", "--parallel", "3", *rates, *TINY, directory=seat)
    done = outcomes(seat)
    assert {outcome.status for outcome in done} == {"ok"}
    hosts = {frozenset(outcome.placement.values()) for outcome in done[:3]}
    assert len(hosts) == 3
    assert len(frozenset.union(*hosts)) == 12
    assert "are one machine: trials side by side share its cores" in ran.err
    report = place.call("report", directory=seat).out
    assert "Settings by final test accuracy" in report


def test_workers_without_parameter_server_average_their_gradients_across_hosts(
    place: Farm, provisioned: Called, seat: Path
) -> None:
    del provisioned
    done = place.call("run", *ON_OWN, *TINY, "--protocols", "all-reduce", directory=seat)
    assert "testing every connection between all hosts" in done.err
    (outcome,) = outcomes(seat)
    assert outcome.placement == {"worker:0": "node13", "worker:1": "node14"}
    (steps,) = {record.steps for record in outcome.epochs}
    (warmup,) = {record.steps for record in outcome.warmups}
    assert outcome.updates_applied == [warmup + steps * outcome.order.epochs]
    assert outcome.evaluations[-1].global_step == outcome.updates_applied[0]
    assert place.left(*OWN) == []


# --- accidents ------------------------------------------------------------------------------------


@contextlib.contextmanager
def killed(place: Farm, name: str) -> Iterator[Witness]:
    """Kill the controllers of two sweeps in mid trial, one with a cluster of its own.

    Yields:
        Who watches everything that should end.
    """
    settings = (ON_STANDING, ON_OWN)
    with contextlib.ExitStack() as stack:
        sweeps = [
            stack.enter_context(
                place.start("run", *given, *LONG, directory=place.seat(f"{name} {number}"))
            )
            for number, given in enumerate(settings)
        ]
        ending = [pid for sweep in sweeps for pid in roles(sweep).values()]
        assert len(ending) == 4
        ending += [pid for host in OWN for pid in place.hosts.processes(host)]
        witness = stack.enter_context(Witness(ending))
        for sweep in sweeps:
            assert sweep.end_by(signal.SIGKILL).code == -signal.SIGKILL
            assert "trying again" not in sweep.said
        yield witness


@pytest.fixture(scope="module")
def left_alone(place: Farm, launched: Any) -> Iterator[Future[list[int]]]:
    """Kill two controllers, two more at once after them; tell what then outlives its time."""
    del launched
    with (
        killed(place, "first") as first,
        killed(place, "second") as second,
        ThreadPoolExecutor(1) as pool,
    ):
        left = pool.submit(second.alive_after, GONE_S)
        assert first.alive_after(0) == []
        yield left


@pytest.mark.long
def test_after_a_kill_of_their_controllers_the_next_sweeps_train_at_once(left_alone: Any) -> None:
    assert not left_alone.done()  # see the fixture


@pytest.mark.long
def test_a_host_that_goes_down_in_mid_trial_is_named_and_resuming_finishes_once_it_is_back(
    place: Farm, provisioned: Called, seat: Path
) -> None:
    del provisioned
    (seat / "hosts").write_text("".join(f"{name} slots=2\n" for name in UNLUCKY))
    # With this seed the second round begins with 2 nodes again, as the first one always does.
    given = ["--hostfile", "hosts", "--nodes", "2,4", "--seed", "1", "--on-worker-loss", "fail"]
    with place.start("run", *SECONDS, *given, "--repeats", "2", directory=seat) as sweep:
        assert len(roles(sweep, "n04")) == 4
        place.hosts.crash("node16")
        done = sweep.result()
    try:
        assert done.code == 4
        assert "1 of 4 trials failed" in done.last_line
        assert "node16" in done.last_line
        _, failed, good, left = outcomes(seat)
        assert (failed.status, good.status, left.status) == ("failed", "ok", "not run")
        assert failed.failure
        assert failed.failure.host == "node16"
        assert set(good.placement.values()) == {"node15"}
        assert place.left("node15") == []
    finally:
        place.hosts.restart("node16")
    place.call("run", "--resume", directory=seat)
    assert {outcome.status for outcome in outcomes(seat)} == {"ok"}
    assert place.left(*UNLUCKY) == []
    (orphan,) = orphans(place)["node16"]
    assert orphan["pids"] == []
    place.call("stop", orphan["cluster"])
    assert orphans(place)["node16"] == []


@pytest.mark.long
def test_of_a_killed_controller_only_the_agents_that_stand_are_left(
    place: Farm, launched: Any, left_alone: Future[list[int]]
) -> None:
    assert left_alone.result() == []
    assert place.left(*OWN) == []
    clusters = place.clusters()
    assert {part["host"] for part in clusters} == set(launched["placement"].values())
    assert {part["doing"] for part in clusters} == {"idle"}


def test_dropped_connections_cost_a_trial_no_event(place: Farm, launched: Any, seat: Path) -> None:
    del launched
    hosts = ("node1", "node2", "node3")
    given = ["--hosts", ",".join(hosts), "--nodes", "3"]
    with place.start("run", *given, *SECONDS, directory=seat) as sweep:
        roles(sweep)
        for server in place.hosts.sshds[:3]:
            server.drop()
        done = sweep.result()
    assert done.code == 0, done.err
    for host in hosts:
        assert f"connection to {host} lost, trying again" in done.err
        assert f"connection to {host} is back" in done.err
    (outcome,) = outcomes(seat)
    assert outcome.updates_applied == [outcome.updates_pushed]
    epochs = [(record.epoch, record.task) for record in outcome.epochs]
    assert sorted(epochs) == [(n, f"worker:{w}") for n in range(1, 11) for w in (0, 1)]


@pytest.mark.long
def test_a_killed_parameter_server_goes_on_from_the_checkpoint_on_its_host(
    place: Farm, launched: Any, seat: Path
) -> None:
    del launched
    given = ["--hosts", "node1,node2,node3", "--nodes", "3"]
    restarting = ["--restart-servers", "1", "--checkpoint-s", "0.5", *TINY, "--epochs", "4"]
    with place.start("run", *given, *restarting, directory=seat) as sweep:
        server = roles(sweep)["ps:0"]
        sweep.await_event("checkpointed")
        os.kill(server, signal.SIGKILL)
        done = sweep.result()
    assert done.code == 0, done.err
    assert "lost ps:0 on node1 in epoch" in done.err
    (outcome,) = outcomes(seat)
    assert outcome.status == "degraded"
    (lost,) = outcome.lost_servers
    assert lost.cause == "killed by signal 9"
    epochs = [(record.epoch, record.task) for record in outcome.epochs]
    assert sorted(epochs) == [(n, f"worker:{w}") for n in range(1, 5) for w in (0, 1)]
    report = place.call("report", "--format", "markdown", directory=seat).out
    assert "lost ps:0 on node1 in epoch" in report
    homes = {host.home for host in place.hosts.sshds}
    assert not [path for home in homes for path in home.glob(".dnnbench/clusters/*/*/checkpoints")]


def test_what_needs_a_host_that_is_down_is_not_run_and_all_else_is(
    place: Farm, launched: Any, seat: Path
) -> None:
    del launched
    given = ["--hosts", "node1,node2,node3", "--nodes", "2,3"]
    place.hosts._named("node3").stop()
    try:
        done = place.call("run", *given, *TINY, "--json", code=5, directory=seat)
    finally:
        place.hosts.restart("node3")
    assert "1 of 2 trials not run: node3: " in done.last_line
    assert "refuses connections" in done.last_line
    cells = {cell["nodes"]: (cell["n"], cell["not_run"]) for cell in done.document["cells"]}
    assert cells == {2: (1, 0), 3: (0, 1)}
    assert {o.order.nodes: o.status for o in outcomes(seat)} == {2: "ok", 3: "not run"}


# --- several sweeps -------------------------------------------------------------------------------


@pytest.mark.long
def test_two_sweeps_share_hosts_if_both_say_so(place: Farm, provisioned: Called) -> None:
    del provisioned
    with contextlib.ExitStack() as stack:
        sweeps = [
            stack.enter_context(
                place.start("run", *ON_OWN, *TINY, "--share", directory=place.seat(name))
            )
            for name in ("one", "other")
        ]
        done = [sweep.result() for sweep in sweeps]
    assert [called.code for called in done] == [0, 0], done
    ports = [
        {event["port"] for event in sweep.events() if event["event"] == "port_reserved"}
        for sweep in sweeps
    ]
    assert [len(held) for held in ports] == [2, 2]
    assert ports[0].isdisjoint(ports[1])  # so they were there at the same time
    assert place.left(*OWN) == []


def test_another_user_is_told_whose_cluster_it_is(place: Farm, launched: Any) -> None:
    del launched
    done = place.call("run", *ON_STANDING, *TINY, code=5, user="alice")
    assert f"node1: is taken by {owner()} since" in done.last_line
    assert "for launch of 12 nodes" in done.last_line
    stopped = place.call("stop", user="alice")
    assert "no host that answered has a cluster of yours" in stopped.out


@pytest.mark.long
def test_a_users_own_model_is_taken_as_it_is_now(place: Farm, launched: Any, seat: Path) -> None:
    del launched
    parameters = []
    for units in (16, 32):
        (seat / "own.py").write_text(
            "import keras\n"
            "def net(*, l2, dropout):\n"
            "    return keras.Sequential([keras.Input((784,)),"
            f" keras.layers.Dense({units}), keras.layers.Dense(10)])\n"
        )
        with place.start("run", *ON_STANDING, *TINY, "--model", "own:net", directory=seat) as sweep:
            done = sweep.result()
        assert done.code == 0, done.err
        parameters += [e["parameters"] for e in sweep.events() if e["event"] == "prepared"]
    assert parameters == [n * 785 + 10 * (n + 1) for n in (16, 16, 32, 32)]


# --- the end --------------------------------------------------------------------------------------


def test_stop_is_refused_while_a_sweep_uses_the_cluster_and_forced_leaves_nothing(
    place: Farm, launched: Any, seat: Path
) -> None:
    with place.start("run", *ON_STANDING, *LONG, directory=seat) as sweep:
        roles(sweep)
        others = place.call("run", *ON_STANDING, *TINY, code=5)
        name = next(seat.glob("results/[!.]*")).name
        assert f"node1: is taken by {owner()}" in others.last_line
        assert f"for sweep {name}" in others.last_line
        refused = place.call("stop", "--hosts", "node1", code=5)
        assert f"node1: a controller is attached: sweep {name}" in refused.err
        stopped = place.call("stop", "--force")
        done = sweep.result()
    assert stopped.out.count("none is left, every port is free") == 12
    assert done.code in (4, 5)
    assert f"stopped by {owner()}" in done.err
    assert place.left() == []
    assert (
        taken(int(address.rpartition(":")[2]) for address in launched["addresses"].values()) == []
    )
    assert orphans(place) == {host: [] for host in place.names}


def test_a_cluster_ends_with_its_lease(place: Farm, provisioned: Called) -> None:
    del provisioned
    place.call("launch", *ON_OWN, *DATA, "--lease-s", "2")
    assert place.left(*OWN) == []


@pytest.mark.parametrize(
    "moment", ["connecting to", "starting the agents", "importing TensorFlow", "progress"]
)
def test_ctrl_c_at_any_moment_ends_all_of_it_at_once(
    place: Farm, provisioned: Called, seat: Path, moment: str
) -> None:
    del provisioned
    with place.start("run", *ON_OWN, *LONG, directory=seat) as sweep:
        if moment == "progress":
            roles(sweep)
        else:
            sweep.await_text(moment)
        sweep.process.send_signal(signal.SIGINT)
        assert sweep.result(PROMPT_S).code == 130
    assert place.left(*OWN) == []


@pytest.mark.long
def test_ctrl_c_ends_all_trials_that_run_side_by_side(
    place: Farm, provisioned: Called, seat: Path
) -> None:
    del provisioned
    alone = ["--protocols", "sequential", "--parallel", "2", "--learning-rate", "0.1,0.2"]
    with place.start("run", "--hosts", ",".join(OWN), *LONG, *alone, directory=seat) as sweep:
        sweep.await_text("trained")
        assert "[2/2]" in sweep.said
        sweep.process.send_signal(signal.SIGINT)
        assert sweep.result(PROMPT_S).code == 130
    assert [outcome.status for outcome in outcomes(seat)] == ["interrupted"] * 2
    assert {host for o in outcomes(seat) for host in o.placement.values()} == set(OWN)
    assert place.left(*OWN) == []


def test_ctrl_c_ends_a_launch_and_what_it_has_started(place: Farm, provisioned: Called) -> None:
    del provisioned
    with place.start("launch", *ON_OWN, *DATA) as launch:
        launch.await_text("importing TensorFlow")
        launch.process.send_signal(signal.SIGINT)
        assert launch.result(PROMPT_S).code == 130
    assert place.left(*OWN) == []


# --- a bare host ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with start(1, tmp_path_factory.mktemp("bare"), first=100, slots=2) as hosts:
        yield hosts


def test_ctrl_c_ends_pip_on_the_host_and_takes_back_what_is_half_done(bare: Farm) -> None:
    (server,) = bare.hosts.sshds
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(TIMEOUT_S)
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        with bare.start("provision", *DATA, "--index-url", url) as provision:
            connection, _ = index.accept()  # of pip, which waits for an answer then
            with connection:
                provision.process.send_signal(signal.SIGINT)
                assert provision.result(PROMPT_S).code == 130
                assert bare.left() == []
    assert list((server.home / ".dnnbench" / "env").iterdir()) == []


@pytest.mark.long
def test_a_bare_host_is_provisioned_from_a_package_index_trains_and_is_bare_again(
    bare: Farm,
) -> None:
    with bare.start("provision", *DATA, "--json") as provision:
        done = provision.result(INSTALL_TIMEOUT_S)
    if done.code and "package index cannot be used" in done.err and os.environ.get("CI") != "true":
        pytest.skip(done.last_line)
    assert done.code == 0, done.err
    (steps,) = done.document["hosts"].values()
    found = {step["name"]: step["state"] for step in steps}
    assert found == {"facts": "ok", "environment": "changed", "package": "changed", "data": "ok"}
    bare.call("run", "--nodes", "2", *TINY)
    (outcome,) = outcomes(bare.directory)
    assert outcome.status == "ok"
    bare.call("provision", "--remove")
    assert bare.left() == []
    assert not (bare.hosts.sshds[0].home / ".dnnbench").exists()
