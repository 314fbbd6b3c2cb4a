from __future__ import annotations

import errno
import json
import os
import signal
import socket
import stat
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.factories import make_order
from support.kept import TIMEOUT_S, KeptHost, Relay, end_of

from benchmarks.testbed.processes import Witness, children_of
from dnnbench.hosts.onhost import state
from dnnbench.trial.messages import Connect, Order, Prepare, Start, encode
from dnnbench.trial.role_environment import CHECKPOINTS
from dnnbench.trial.tasks import ClusterSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_BYTES = 512 << 20
CONNECT = Connect(cluster=ClusterSpec(ps=[], worker=[]))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeptHost]:
    with KeptHost(tmp_path / "dnnbench") as host:
        yield host


def send(relay: Relay, *orders: Order, first: int = 1) -> None:
    for number, order in enumerate(orders, first):
        relay.say(n=number, order=json.loads(encode(order)))


def start_roles(relay: Relay, first: int = 1) -> list[int]:
    """Start two roles that hang; return their processes, and those that they started."""
    tasks = ["ps:0", "worker:0"]
    send(relay, Prepare(make_order(id="hang")), Start(tasks, 1), CONNECT, first=first)
    roles: list[int] = []
    children: list[int] = []
    while len(children) < len(tasks) or len(roles) < len(tasks):
        event = relay.hear().get("event", {})
        if event.get("event") == "port_reserved":
            roles.append(event["pid"])
        elif event.get("event") == "progress":
            children.append(event["epoch"])  # where `hang` puts the process that it has started
        relay.say(beat=0)  # forks take their time
    return [*roles, *children]


def problem(answer: dict[str, Any]) -> str:
    error = answer.get("error") or answer["refused"]
    return f"{error['problem']}; {error['remedy']}"


def test_start_answers_once_agent_and_socket_are_there_and_holds_ports(host: KeptHost) -> None:
    answer = host.start()
    assert answer["socket"] == str(host.state() / "agent.sock")
    assert stat.S_IMODE((host.state() / "agent.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(host.state().stat().st_mode) == 0o700
    (agent,) = children_of(answer["pid"])
    assert os.getsid(agent) == agent
    entries = Path(f"/proc/{agent}/environ").read_text().split("\0")
    environment = dict(entry.split("=", 1) for entry in entries if entry)
    assert environment["DNNBENCH_CLUSTER"] == "c1"
    assert str(host.state() / "models") not in environment["PYTHONPATH"]
    assert len(answer["ports"]) == 2
    for port in answer["ports"]:
        with socket.socket() as role, socket.socket() as stranger:
            with pytest.raises(OSError, match="in use"):
                stranger.bind(("", port))
            role.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            role.bind(("", port))


def test_two_clusters_that_share_a_host_get_ports_of_their_own(host: KeptHost) -> None:
    first = host.start()["ports"]
    second = host.start(cluster="c2", share=True)["ports"]
    assert not set(first) & set(second)
    assert [c["cluster"] for c in host.call("status")["clusters"]] == ["c1", "c2"]
    assert host.call("stop", cluster="c2")["left"] == []
    assert [c["cluster"] for c in host.call("status")["clusters"]] == ["c1"]


def test_a_host_that_is_taken_says_by_whom_and_leaves_nothing(host: KeptHost) -> None:
    host.start(purpose="sweep full")
    told = problem(host.start(cluster="c2"))
    assert told.startswith("is taken by alice@laptop since ")
    assert told.endswith(" for sweep full; wait, or use --share")
    assert not host.state("c2").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"requires": ["env/none"]}, "env/none is missing; run dnnbench provision"),
        ({"python": "env/none"}, "env/none: No such file or directory; run dnnbench provision"),
        (
            {"port_range": [21990, 21990]},
            "needs 2 ports in 21990-21990, 1 free; widen [cluster] ports",
        ),
        ({"cluster": "../x"}, "expected a name, found '../x'"),
    ],
)
def test_what_keeps_a_cluster_from_starting_is_told_with_its_cure(
    host: KeptHost, changes: dict[str, Any], told: str
) -> None:
    assert told in problem(host.start(**changes))
    assert not (host.directory / "clusters" / "c1").exists()


def test_a_directory_that_cannot_be_written_is_told_with_its_cure(host: KeptHost) -> None:
    (host.directory / "clusters").write_text("in the way")
    told = problem(host.start())
    assert told.startswith(f"cannot write {host.state().parent}: Not a directory; ")
    assert told.endswith("set [cluster] directory to one that you may write")


def test_a_full_disk_is_told_with_its_cure() -> None:
    told = state.problem_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "/full/agent.json")
    assert told.problem == "cannot write /full/agent.json: No space left on device"
    assert told.remedy == "free some space, or set [cluster] directory to another disk"


def test_a_cluster_stands_on_a_host_once(host: KeptHost) -> None:
    host.start()
    assert "c1 is already running there" in problem(host.start())
    assert host.attach().hear()["welcome"]


def test_no_event_and_no_order_is_lost_or_doubled_by_a_cut(host: KeptHost) -> None:
    host.start()
    relay = host.attach_ready()
    orders = [Prepare(make_order(id="talk")), Start(["ps:0"], 1)]
    send(relay, *orders)
    first = relay.hear()
    assert first["event"]["event"] == "prepared"
    relay.close()

    again = host.attach(read_on_from=first["n"])
    assert again.hear()["welcome"]["orders"] in {1, 2}
    send(again, *orders)  # as a controller does that has not heard of their arrival
    send(again, CONNECT, first=3)
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["event"]["event"] != "role_exited":
        messages.append(again.hear())
    numbers = [message["n"] for message in messages]
    assert numbers == list(range(first["n"] + 1, first["n"] + 1 + len(messages)))
    kinds = [message["event"]["event"] for message in messages]
    # Events and log lines come over a pipe each: either may be first, but the end is last.
    assert sorted(kinds[:-1]) == ["log", "log", "log", "port_reserved"]


def test_a_beat_is_answered_and_what_it_acknowledges_is_forgotten(host: KeptHost) -> None:
    host.start()
    relay = host.attach_ready()
    send(relay, Prepare(make_order()), Prepare(make_order()))
    numbers = [relay.hear()["n"], relay.hear()["n"]]
    relay.say(beat=numbers[0])
    assert relay.hear() == {"beat": 2}
    relay.close()
    again = host.attach(read_on_from=numbers[0])
    assert again.hear()["welcome"]["events"] == numbers[1]
    assert again.hear()["n"] == numbers[1]


def test_after_the_grace_roles_are_killed_and_the_agent_stands(host: KeptHost) -> None:
    pid = host.start(grace_s=1.0)["pid"]
    relay = host.attach_ready()
    processes = start_roles(relay)
    (agent,) = children_of(pid)
    relay.close()
    assert end_of(processes) == []
    assert "the agent gave up" in problem(host.attach(read_on_from=1).hear())
    fresh = host.attach_ready("somebody else")
    assert children_of(pid) == [agent]
    send(fresh, Prepare(make_order()), first=100)
    assert fresh.hear()["event"]["event"] == "prepared"


def test_a_controller_that_falls_silent_is_given_up_though_it_is_connected(host: KeptHost) -> None:
    host.start(grace_s=1.0)
    relay = host.attach_ready()
    processes = start_roles(relay)
    assert end_of(processes) == []
    while relay.hear():  # to the end: it was disconnected
        pass


def test_a_new_controller_hears_nothing_of_an_earlier_ones_roles(host: KeptHost) -> None:
    host.start()
    relay = host.attach_ready()
    start_roles(relay)
    relay.say(leave=True)
    fresh = host.attach("somebody else")
    welcome = fresh.hear()["welcome"]
    if welcome["ready"] is None:
        assert fresh.hear()["event"]["event"] == "agent_ready"
    send(fresh, Prepare(make_order()), first=welcome["orders"] + 1)
    assert fresh.hear()["event"]["event"] == "prepared"


def test_silence_for_the_lease_ends_everything_and_gives_all_back(host: KeptHost) -> None:
    answer = host.start(grace_s=1.0, lease_s=2.0)
    relay = host.attach_ready()
    processes = [answer["pid"], *children_of(answer["pid"]), *start_roles(relay)]
    with Witness(processes) as witness:
        relay.close()
        assert witness.alive_after(TIMEOUT_S) == []
    assert host.call("status") == {"clusters": [], "orphans": []}
    assert not host.state().parent.exists()
    assert host.start()["ports"] == answer["ports"]


def test_the_lease_only_counts_while_no_controller_is_there(host: KeptHost) -> None:
    answer = host.start(lease_s=0.05, first_lease_s=20.0)
    relay = host.attach_ready()  # which takes longer, without a word of ours
    relay.say(beat=0)
    assert relay.hear() == {"beat": 0}
    relay.say(leave=True)
    assert end_of([answer["pid"]]) == []


def test_a_cluster_whose_first_controller_never_comes_ends_long_before_its_lease(
    host: KeptHost,
) -> None:
    answer = host.start(first_lease_s=0.5)
    assert end_of([answer["pid"]]) == []
    assert not host.state().parent.exists()
    host.start(first_lease_s=20.0)
    relay = host.attach_ready()
    relay.say(leave=True)
    assert relay.hear() == {"left": True}
    (found,) = host.call("status")["clusters"]
    assert found["lease_left_s"] > 20.0


def test_an_agent_that_ended_before_its_controller_came_is_told_of(host: KeptHost) -> None:
    host.python.write_text("#!/bin/sh\necho no module named keras >&2\nexit 3\n")
    answer = host.start()
    assert end_of(children_of(answer["pid"])) == []
    relay = host.attach()
    assert relay.hear()["welcome"]["ready"] is None
    cause = "the agent ended with 3: no module named keras"
    assert relay.hear() == {"ended": 3, "cause": cause, "kind": None}
    assert end_of([answer["pid"]]) == []


def test_nothing_outlives_a_killed_keeper_and_stop_cleans_up_after_it(host: KeptHost) -> None:
    answer = host.start()
    relay = host.attach_ready()
    processes = [*children_of(answer["pid"]), *start_roles(relay)]
    tied, started_by_roles = processes[:3], processes[3:]
    with Witness(tied) as witness:
        os.kill(tied[0], signal.SIGSTOP)  # so that the agent has no time to tidy up
        os.kill(answer["pid"], signal.SIGKILL)
        assert witness.alive_after(TIMEOUT_S) == []
    status = host.call("status")
    assert status["clusters"] == []
    (orphan,) = status["orphans"]
    # What a role has started itself is tied to nobody.
    assert (orphan["cluster"], orphan["pids"]) == ("c1", sorted(started_by_roles))
    with Witness(started_by_roles) as witness:
        assert host.call("stop", cluster="c1") == {"ended": 2, "left": [], "ports_taken": []}
        assert witness.alive_after(0) == []
    assert host.call("status") == {"clusters": [], "orphans": []}
    assert host.start()["ports"] == answer["ports"]


def test_stop_is_refused_while_a_controller_is_attached_unless_it_is_forced(
    host: KeptHost,
) -> None:
    answer = host.start()
    relay = host.attach_ready()
    processes = [answer["pid"], *children_of(answer["pid"]), *start_roles(relay)]
    assert "a controller is attached: trial" in problem(host.call("stop", cluster="c1"))
    (cluster,) = host.call("status")["clusters"]
    assert cluster["attached"]
    assert cluster["doing"] == "running trial hang"
    assert cluster["processes"] == 5
    with Witness(processes) as witness:
        stopped = host.call("stop", cluster="c1", force=True, by="bob")
        assert witness.alive_after(0) == []
    assert stopped == {"ended": 6, "left": [], "ports_taken": []}
    while "ended" not in (message := relay.hear()):
        pass
    assert message["cause"] == "stopped by bob"
    assert not host.state().exists()


def test_a_port_that_is_still_taken_after_stop_is_told(host: KeptHost) -> None:
    port, other = host.start()["ports"]
    with socket.socket() as left_behind:
        left_behind.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        left_behind.bind(("", port))
        left_behind.listen()
        assert host.call("stop", cluster="c1")["ports_taken"] == [port]
        assert host.start()["ports"] == [other, other + 1]


def test_stop_of_nothing_is_no_error(host: KeptHost) -> None:
    assert host.call("stop", cluster="none") == {"ended": 0, "left": [], "ports_taken": []}


@pytest.mark.parametrize("way", ["end", "SIGTERM"])
def test_every_way_out_leaves_nothing(host: KeptHost, way: str) -> None:
    answer = host.start()
    relay = host.attach_ready()
    processes = [answer["pid"], *children_of(answer["pid"]), *start_roles(relay)]
    with Witness(processes) as witness:
        if way == "end":
            relay.say(end=True)
        else:
            os.kill(answer["pid"], signal.SIGTERM)
        while "ended" not in (message := relay.hear()):
            pass
        assert message == {
            "ended": 0,
            "cause": "ended by its controller" if way == "end" else "SIGTERM",
            "kind": None,
        }
        assert witness.alive_after(TIMEOUT_S) == []
    assert not host.state().parent.exists()


def test_the_end_of_the_agent_is_told_after_its_last_event_and_its_log_stays(
    host: KeptHost,
) -> None:
    answer = host.start()
    relay = host.attach_ready()
    (agent,) = children_of(answer["pid"])
    processes = start_roles(relay)
    (host.state() / "agent.log").write_text("Segmentation fault\n\n")
    environment = Path(f"/proc/{agent}/environ").read_bytes().split(b"\0")
    assert f"{CHECKPOINTS}={host.state() / 'checkpoints'}".encode() in environment
    (host.state() / "checkpoints" / "ps-0").mkdir(parents=True)
    relay.close()  # and it comes back only after the agent's end
    with Witness([agent, *processes]) as witness:
        os.kill(agent, signal.SIGKILL)
        assert witness.alive_after(TIMEOUT_S) == []
    again = host.attach(read_on_from=0)
    messages = [again.hear()]
    while "ended" not in messages[-1]:
        messages.append(again.hear())
    kinds = [message["event"]["event"] for message in messages if "event" in message]
    assert sorted(kinds[-4:]) == ["port_reserved", "port_reserved", "progress", "progress"]
    cause = "the agent was killed by SIGKILL: Segmentation fault"
    assert messages[-1] == {"ended": -9, "cause": cause, "kind": "crashed"}
    assert end_of([answer["pid"]]) == []
    assert (host.state() / "agent.log").exists()
    assert not (host.state() / "checkpoints").exists()
    assert host.call("status")["orphans"] == [{"cluster": "c1", "host": "node1", "pids": []}]
    host.call("stop", cluster="c1")
    assert not host.state().exists()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("while True: os.write(1, bytes(1 << 16))", "the agent wrote a line that does not end"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the agent was killed by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the agent was killed by SIGKILL"),
    ],
)
def test_an_agent_that_goes_wrong_is_told_of_and_takes_no_memory_of_its_keeper(
    host: KeptHost, script: str, told: str
) -> None:
    host.within = ("prlimit", f"--as={MEMORY_BYTES}")
    host.python.write_text(f"#!{sys.executable}\nimport os, signal\n{script}\n")
    answer = host.start()
    with Witness([answer["pid"]]) as witness:
        relay = host.attach()
        while "ended" not in (message := relay.hear()):
            pass
        assert message["cause"] == told
        assert witness.alive_after(TIMEOUT_S) == []


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"event":[],"task":[[]]}', '{"event":"role_exited","task":{}}', "NaN"]
)
def test_an_event_of_whatever_shape_is_passed_on_and_hurts_no_keeper(
    host: KeptHost, line: str
) -> None:
    ready = '{"event":"agent_ready"}'
    host.python.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"print({ready!r}, flush=True)\nsys.stdin.readline()\n"
        f"print({line!r}, flush=True)\nsys.stdin.read()\n"
    )
    host.start()
    relay = host.attach_ready()
    send(relay, CONNECT)
    expected = line if line.startswith("[[") else json.loads(line)
    assert json.dumps(relay.hear()["event"]) == json.dumps(expected)


@pytest.fixture
def little_memory() -> Iterator[tuple[str, ...]]:
    """Make a control group whose processes get 64 MiB; yield a command that runs others in it."""
    root = Path("/sys/fs/cgroup")
    legacy = root / "memory" / "memory.limit_in_bytes"
    name = f"dnnbench-test-{uuid.uuid4().hex[:8]}"
    group = (root / "memory" if legacy.exists() else root) / name
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        limit = group / ("memory.limit_in_bytes" if legacy.exists() else "memory.max")
        if not limit.exists():
            (root / "cgroup.subtree_control").write_text("+memory")
        limit.write_text(str(64 << 20))
        yield ("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group))
    except OSError as error:
        pytest.skip(f"memory cannot be limited: {error}")
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.01)
        group.rmdir()


def test_an_agent_that_the_kernel_ends_for_lack_of_memory_is_called_that(
    host: KeptHost, little_memory: tuple[str, ...]
) -> None:
    host.within = little_memory
    host.python.write_text(f"#!{sys.executable}\nprint(len(b'x' * (1 << 30)))\n")
    answer = host.start()
    relay = host.attach()
    while "ended" not in (message := relay.hear()):
        pass
    assert "the agent was killed, probably for lack of memory" in message["cause"]
    assert "fewer slots" in message["remedy"]
    assert end_of([answer["pid"]]) == []
    host.call("stop", cluster="c1")


def test_a_directory_that_a_start_has_left_is_found_and_taken_away(host: KeptHost) -> None:
    left = host.state("c9")
    left.mkdir(parents=True)
    (left / "keeper.log").write_text("Killed\n")
    assert host.call("status")["orphans"] == []  # it may be a start that is under way
    os.utime(left, (time.time() - 100,) * 2)
    orphan = {"cluster": "c9", "host": "node1", "pids": []}
    assert host.call("status") == {"clusters": [], "orphans": [orphan]}
    assert host.call("stop", cluster="c9") == {"ended": 0, "left": [], "ports_taken": []}
    assert not left.parent.exists()
    assert host.call("status")["orphans"] == []


@pytest.mark.parametrize("text", ["[]", "{}", "7", '{"pid":"x","started":[]}', "[" * 100_000])
def test_a_record_that_no_keeper_wrote_is_no_keepers(host: KeptHost, text: str) -> None:
    left = host.state("c9")
    left.mkdir(parents=True)
    (left / "agent.json").write_text(text)
    os.utime(left, (time.time() - 100,) * 2)
    assert [orphan["cluster"] for orphan in host.call("status")["orphans"]] == ["c9"]
    assert host.call("stop", cluster="c9")["left"] == []
    assert not left.exists()


def test_hosts_that_share_a_directory_leave_each_other_alone(host: KeptHost) -> None:
    with KeptHost(host.directory, name="node2") as other:
        pids = [host.start()["pid"], other.start()["pid"]]
        assert [c["pid"] for c in host.call("status")["clusters"]] == pids[:1]
        assert host.call("stop", cluster="c1")["left"] == []
        assert host.call("status") == {"clusters": [], "orphans": []}
        assert [c["pid"] for c in other.call("status")["clusters"]] == pids[1:]
        assert other.attach().hear()["welcome"]


def test_another_controller_has_to_wait_and_is_told_whether_it_will_be_long(
    host: KeptHost,
) -> None:
    host.start()
    relay = host.attach_ready()
    refused = host.attach("somebody else").hear()["refused"]
    assert refused["problem"] == "another controller is attached: trial"
    assert not refused["passing"]
    relay.close()
    while not host.attach("somebody else").hear()["refused"]["passing"]:
        pass  # until the keeper has noticed
    assert host.attach(read_on_from=0).hear()["welcome"]  # its own one still can


def test_what_no_keeper_understands_ends_that_connection_alone(host: KeptHost) -> None:
    host.start()
    relay = host.attach_ready()
    for line in (b"garbage\n", b'{"hello":{}}\n', b"[]\n"):
        stranger = host.relay()
        stranger.write(line)
        assert "cannot be understood" in problem(stranger.hear())
        assert stranger.hear() == {}
    relay.say(beat=0)
    assert relay.hear() == {"beat": 0}


def test_a_relay_to_nothing_says_so(host: KeptHost) -> None:
    assert "no cluster is running at" in problem(host.relay("none").hear())


@pytest.mark.parametrize(
    ("connection", "scope"),
    [
        ("", "host"),
        ("10.0.0.9 51000 10.0.0.1 22", "host"),
        ("127.0.0.1 51000 127.0.0.1 22", "host"),
        ("127.0.0.1 51000 127.0.0.12 2222", "127.0.0.12"),
    ],
)
def test_servers_on_one_machine_are_hosts_of_their_own(
    monkeypatch: pytest.MonkeyPatch, connection: str, scope: str
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", connection)
    assert state.scope() == scope
