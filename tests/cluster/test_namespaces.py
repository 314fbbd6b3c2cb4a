"""Three hosts that are network namespaces with half a core each, and an outsider beside them.

What loopback addresses cannot show: who may connect to TensorFlow's ports, what becomes of a trial
when a link falls silent, and what a host says of itself that is not all of its machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from benchmarks.testbed import namespaces
from benchmarks.testbed.farm import Called, Farm, outcomes
from benchmarks.testbed.processes import Witness
from dnnbench.errors import HostError, TrialError
from dnnbench.sweep.results import open_sweep
from dnnbench.trial.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.testbed.farm import Command
    from benchmarks.testbed.namespaces import Namespace, Network
    from dnnbench.sweep.store import SweepStore

NODES = ["node1", "node2", "node3"]
CORES = 0.5
CONNECT_TIMEOUT_S = 1.0
FOUND_DEAD_S = 30.0
"""From the cut of a link on: no word for 15 s, and one try to connect again."""
LEASE_S = 30.0
"""Then nothing of a sweep's own cluster is left on a host that nobody reaches."""
DATA = ("--dataset", "synthetic-mnist")
RUN = (
    *("run", *DATA, "--protocols", "downpour", "--repeats", "1", "--batch-size", "1000"),
    *("--warmup-steps", "10", "--steps-per-run", "5"),
)

Address = tuple[str, int]


class Role(NamedTuple):
    """A process of a trial, and where it listens."""

    host: str
    pid: int
    address: Address


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three hosts; this thread, and the commands it calls, are the controller's."""
    directory = tmp_path_factory.mktemp("network")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(namespaces.network(len(NODES), directory, cores=CORES))
        except namespaces.NotPossibleError as error:
            if os.environ.get("CI") == "true" and os.geteuid() == 0:
                pytest.fail(str(error))
            pytest.skip(str(error))
        stack.enter_context(made.controller.entered())
        yield made


@pytest.fixture(scope="module")
def place(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Farm:
    """The hosts, provisioned, and a user who does not wait long for one that is down."""
    farm = Farm(network.hosts, tmp_path_factory.mktemp("place"), slots=1)
    farm.equip()
    farm.call("provision", *DATA)
    return farm


def impatient(directory: Path) -> Path:
    """Have a directory's commands not wait long for a host that is down."""
    settings = directory / "dnnbench.toml"
    given = settings.read_text()
    assert given.count("[ssh]\n") == 1
    settings.write_text(given.replace("[ssh]\n", "[ssh]\nconnect_timeout_s = 2\ntries = 1\n"))
    return directory


def roles(sweep: Command, trial: str = "") -> list[Role]:
    """Wait until the first trial trains whose name begins so; return its roles."""
    events = sweep.await_event("progress", trial)
    plan = open_sweep(sweep.directory / "results", need_outcomes=False).plan
    hosts = plan.placement(next(order for order in plan.orders if order.id.startswith(trial)))
    addresses = {host.name: host.address for host in plan.hosts}
    return [
        Role(host, event["pid"], (addresses[host], event["port"]))
        for event in events
        if event["event"] == "port_reserved"
        for host in [hosts[event["task"]]]
    ]


def connected(source: Namespace, targets: list[Role]) -> list[str]:
    """Try to connect to all of these at once; say what came of each, ``""`` for a connection."""

    def connect(target: Role) -> str:
        with source.open_socket() as probe:
            probe.settimeout(CONNECT_TIMEOUT_S)
            try:
                probe.connect(target.address)
            except OSError as error:
                return str(error)
        return ""

    with ThreadPoolExecutor(len(targets)) as pool:
        return list(pool.map(connect, targets))


# --- the preflight --------------------------------------------------------------------------------


def test_the_check_shows_a_connection_for_every_worker_and_parameter_server(place: Farm) -> None:
    found = place.call("provision", "--check", *DATA, "--nodes", "3", "--json").document
    assert [host["hostname"] for host in found["hosts"].values()] == NODES
    pairs = {(pair["source"], pair["target"]): pair for pair in found["connections"]}
    there = [("node2", "node1"), ("node3", "node1")]
    assert list(pairs) == [*there, *((target, source) for source, target in there)]
    assert all(pair["round_trip_ms"] > 0 for pair in pairs.values())
    assert all(pairs[pair]["bytes_per_s"] > 0 for pair in there)


def test_the_check_names_a_host_whose_link_is_cut(network: Network, place: Farm) -> None:
    seat = impatient(place.seat("check"))
    network.unplug("node3")
    try:
        called = place.call("provision", "--check", *DATA, directory=seat, code=HostError.exit_code)
    finally:
        network.plug("node3")
    assert "node3: 10.77.0.3 port 22 " in called.last_line
    assert "is the host up" in called.last_line


# --- rules for the ports --------------------------------------------------------------------------


class Protected(NamedTuple):
    """A sweep with rules, and what others could reach while it trained.

    Attributes:
        tried_at_s: when the last try was over.
        tables: of nftables on every host, during the sweep and after it.
    """

    store: SweepStore
    outsider: list[str]
    hosts: dict[str, list[str]]
    tried_at_s: float
    tables: list[str]
    tables_after: list[str]


@pytest.fixture(scope="module")
def protected(network: Network, place: Farm) -> Protected:
    def tables() -> list[str]:
        return [node.run("nft", "list", "tables") for node in network.nodes.values()]

    seat = place.seat("protected")
    options = ("--nodes", "3", "--epochs", "6", "--firewall")
    with place.start(*RUN, *options, directory=seat) as sweep:
        targets = roles(sweep)
        by_hosts = {name: connected(node, targets) for name, node in network.nodes.items()}
        by_outsider = connected(network.outsider, targets)
        tried_at_s = time.time()
        tables_then = tables()
        done = sweep.result()
    assert done.code == 0, done.err
    store = open_sweep(seat / "results")
    return Protected(store, by_outsider, by_hosts, tried_at_s, tables_then, tables())


def test_an_outsider_reaches_no_port_of_tensorflow(protected: Protected) -> None:
    assert protected.outsider == ["timed out"] * len(NODES)


def test_meanwhile_hosts_reach_each_other_and_training_ends_well(protected: Protected) -> None:
    assert protected.hosts == {name: [""] * len(NODES) for name in NODES}
    assert [outcome.status for outcome in protected.store.outcomes()] == ["ok"]
    (path,) = protected.store.path.glob("trials/*/events.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    progress_s = [event["at_s"] for event in events if event["event"] == "progress"]
    assert progress_s[0] < protected.tried_at_s < progress_s[-1]


def test_the_rules_and_every_process_end_with_the_sweep(place: Farm, protected: Protected) -> None:
    assert [text.count("table inet dnnbench_") for text in protected.tables] == [1] * len(NODES)
    assert protected.tables_after == [""] * len(NODES)
    assert place.left() == []


def test_the_results_say_which_task_ran_on_which_host(protected: Protected) -> None:
    (outcome,) = protected.store.outcomes()
    assert outcome.placement == {"ps:0": "node1", "worker:0": "node2", "worker:1": "node3"}
    hosts = protected.store.sessions()[-1].hosts
    assert [hosts[name].hostname for name in NODES] == NODES
    (log,) = protected.store.path.glob("trials/*/logs/worker-1.log")
    assert log.read_text().startswith("worker:1 on node3 | ")


def test_an_agent_knows_its_share_of_the_cores(network: Network, protected: Protected) -> None:
    if network.no_quota:
        pytest.skip(network.no_quota)
    hosts = protected.store.sessions()[-1].hosts
    assert [hosts[name].cores_usable for name in NODES] == [CORES] * len(NODES)


# --- a silent link --------------------------------------------------------------------------------


class Cut(NamedTuple):
    """A sweep without rules, of which a host falls silent in the first of its two trials.

    Attributes:
        outsider: what somebody could reach before that.
        left: of that trial's processes, on the other hosts; all that was on the lost one.
    """

    directory: Path
    done: Called
    outsider: list[str]
    left: list[int]
    left_on_lost: list[int]


@pytest.fixture(scope="module")
def cut(network: Network, place: Farm) -> Iterator[Cut]:
    """Have a link fall silent; it stays so until the last test that needs this is over."""
    seat = impatient(place.seat("cut"))
    # With this seed the second round begins with 2 nodes again, as the first one always does.
    options = (
        *("--nodes", "2,3", "--repeats", "2", "--seed", "6", "--epochs", "4"),
        *("--on-worker-loss", "fail"),
    )
    with contextlib.ExitStack() as stack:
        sweep = stack.enter_context(place.start(*RUN, *options, directory=seat))
        targets = roles(sweep, "n03")
        by_outsider = connected(network.outsider, targets)
        others = stack.enter_context(Witness(r.pid for r in targets if r.host != "node3"))
        lost = stack.enter_context(Witness(network.hosts.processes("node3")))
        network.silence("node3")
        stack.callback(network.end_silence, "node3")
        left = others.alive_after(FOUND_DEAD_S)
        left_on_lost = lost.alive_after(LEASE_S)
        yield Cut(seat, sweep.result(), by_outsider, left, left_on_lost)


@pytest.mark.long
def test_without_rules_an_outsider_reaches_every_port(cut: Cut) -> None:
    assert cut.outsider == [""] * len(NODES)


@pytest.mark.long
def test_a_silent_link_costs_a_trial_that_names_its_host_and_the_others_go_on(cut: Cut) -> None:
    first, failed, other, _ = outcomes(cut.directory)
    assert (first.order.nodes, first.status) == (2, "ok")
    assert (failed.order.nodes, failed.status) == (3, "failed")
    assert isinstance(failed.failure, Failure)
    assert failed.failure.host == "node3"
    assert "10.77.0.3 port 22 does not answer within 2 s" in failed.failure.cause
    assert (other.order.nodes, other.status) == (2, "ok")
    assert other.placement == {"ps:0": "node1", "worker:0": "node2"}


@pytest.mark.long
def test_the_exit_code_and_the_last_line_say_that_a_trial_failed_and_where(cut: Cut) -> None:
    assert cut.done.code == TrialError.exit_code
    assert "(node3): 1 of 4 trials failed, the first: lost: " in cut.done.last_line


@pytest.mark.long
def test_within_half_a_minute_nothing_of_that_trial_is_left_on_any_host(cut: Cut) -> None:
    assert cut.left == []
    assert cut.left_on_lost == []


@pytest.mark.long
def test_once_it_is_mended_nothing_stands_and_nothing_is_left(
    network: Network, place: Farm, cut: Cut
) -> None:
    del cut
    network.end_silence("node3")
    assert place.clusters() == []
    orphans = place.call("status", "--orphans", "--json").document["orphans"]
    assert orphans == {name: [] for name in NODES}
    assert place.left() == []
