"""Another user of a host: binds seats, plants files, floods; nothing of it runs as us or hurts."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import PROJECT
from support.kept import TIMEOUT_S, TOOLS, KeptHost
from support.stranger import Stranger, stranger

from dnnbench.hosts.onhost import trust
from dnnbench.hosts.onhost.wire import HostProblem
from dnnbench.hosts.provision.bundle import tools
from dnnbench.hosts.provision.invocation import FROM_INPUT, command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "DNNBENCH_TEST_START"
MEMORY_BYTES = 512 << 20
OWN = "set [cluster] directory to one of your own"
BIND = """
seat = socket.socket(socket.AF_UNIX)
seat.bind({name!r})
seat.listen(16)
ready()
while True:
    asker, _ = seat.accept()
    try:
        {answer}
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def mallory() -> Iterator[Stranger]:
    with stranger() as account:
        yield account


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeptHost]:
    with KeptHost(tmp_path / "dnnbench") as host:
        yield host


@pytest.fixture
def public() -> Iterator[Path]:
    """Make a directory like /tmp, and not in `tmp_path`, which lets nobody else in."""
    path = Path(tempfile.gettempdir()) / f"dnnbench-test-{os.getpid()}"
    path.mkdir()
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def problem(answer: dict[str, Any]) -> str:
    return f"{answer['error']['problem']}; {answer['error']['remedy']}"


# --- seats ----------------------------------------------------------------------------------------


def seat(host: KeptHost, answer: str, number: int = 0) -> str:
    return BIND.format(name=f"\0dnnbench/taken/{host.scope}/{number}", answer=answer)


def start_in_little_memory(host: KeptHost) -> str:
    """Start a cluster where neither the command nor its keeper can take much memory."""
    done = subprocess.run(
        [*TOOLS, "start"],
        input=json.dumps({"scope": host.scope, **host.start_request()}).encode() + b"\n",
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, MARK: host.scope},
        timeout=2 * TIMEOUT_S,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    return problem(json.loads(done.stdout))


def left(host: KeptHost) -> list[int]:
    """List living processes that came from `start_in_little_memory`."""
    mark = f"{MARK}={host.scope}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended
            if mark in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("while True: asker.send(bytes(1 << 16))", ", whose process there is not a cluster's"),
        ("while True: asker.send(b'x' * (1 << 16))", ", whose process there is not a cluster's"),
        ("while True: asker.send(b'x'); time.sleep(0.1)", ", whose process there is not"),
        ("asker.send(b'[' * 60_000 + b'\\n')", ", whose process there is not a cluster's"),
        ("asker.send(b'[]\\n')", ", whose process there is not a cluster's"),
        ('asker.send(b\'{"owner": 1, "purpose": 2}\\n\')', ", whose process there is not"),
        ("asker.close()", ", whose process there is not a cluster's"),
    ],
)
def test_a_seat_of_another_user_that_answers_what_it_likes_costs_neither_memory_nor_time(
    mallory: Stranger, host: KeptHost, answer: str, said: str
) -> None:
    with mallory.doing(seat(host, answer)):
        told = start_in_little_memory(host)
    assert told.startswith(f"is taken by {mallory.shown}{said}")
    assert told.endswith("; wait, or use --share")
    assert not host.state().parent.exists()
    assert left(host) == []


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("0", " since 19"),
        ("1e18", " for"),
        ("float('nan')", " for"),
        ("float('inf')", " for"),
        ("10 ** 400", " for"),
        ("-1", " for"),
        ("'x'", " for"),
        ("None", " for"),
        ("[[]]", " for"),
    ],
)
def test_a_card_of_another_user_is_shown_as_far_as_it_makes_sense(
    mallory: Stranger, host: KeptHost, since: str, shown: str
) -> None:
    card = f"{{'owner': 'bob@desk', 'purpose': 'sweep x', 'since': {since}}}"
    with mallory.doing(seat(host, f"asker.send(json.dumps({card}).encode() + b'\\n')", number=1)):
        told = problem(host.start())
    assert told.startswith(f"is taken by {mallory.shown}: bob@desk{shown}")
    assert told.endswith(" for sweep x; wait, or use --share")


def test_text_of_another_user_is_one_short_line_without_escapes(
    mallory: Stranger, host: KeptHost
) -> None:
    card = r"{'owner': '\x1b[31mroot\n\r\x9b', 'purpose': '\u202e' + 'x' * 10_000}"
    with mallory.doing(seat(host, f"asker.send(json.dumps({card}).encode() + b'\\n')")):
        told = problem(host.start())
    assert f"{mallory.shown}: ?[31mroot???" in told
    assert told.isprintable()
    assert len(told) < 400


def test_who_shares_the_host_need_not_wait_for_another_users_seat(
    mallory: Stranger, host: KeptHost
) -> None:
    with mallory.doing(seat(host, "while True: asker.send(bytes(1 << 16))")):
        assert host.start(share=True)["ports"]


def test_another_user_learns_of_a_seat_what_a_card_shows_and_no_more(
    mallory: Stranger, host: KeptHost, public: Path
) -> None:
    host.start()
    name = f"\0dnnbench/taken/{host.scope}/0"
    mallory.does(
        f"""
asker = socket.socket(socket.AF_UNIX)
asker.connect({name!r})
open("{public}/card", "w").write(asker.makefile().readline())
"""
    )
    card = json.loads((public / "card").read_text())
    assert card.pop("since") <= time.time()
    assert card == {"cluster": "c1", "owner": "alice@laptop", "purpose": "sweep quick"}


# --- files ----------------------------------------------------------------------------------------


def call(directory: Path, source: str = FROM_INPUT) -> subprocess.CompletedProcess[bytes]:
    """Ask for facts, as the control side does."""
    line = command_line(sys.executable, str(directory), tools(), "facts", source=source)
    request = json.dumps({"directory": str(directory), "ports": [23000, 23000]}).encode() + b"\n"
    given = tools().content + request if source == FROM_INPUT else request
    return subprocess.run(["sh", "-c", line], input=given, capture_output=True, check=False)


def refusal(done: subprocess.CompletedProcess[bytes]) -> str:
    assert (done.returncode, done.stderr) == (1, b"")
    return problem(json.loads(done.stdout))


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o755])
def test_tools_that_another_user_planted_never_run_and_the_place_is_refused(
    mallory: Stranger, public: Path, mode: int
) -> None:
    directory, ran = public / "dnn", public / "ran"
    planted = directory / "tools" / f"{tools().digest[:16]}.py"
    mallory.does(
        f"""
os.makedirs("{planted.parent}")
open("{planted}", "w").write("open('{ran}', 'w')" + " " * {len(tools().content)})
os.chmod("{directory}", {mode})
"""
    )
    assert call(directory, "file").returncode == 66
    told = refusal(call(directory))
    assert told.startswith(f"{directory} belongs to {mallory.shown}; {OWN}")
    assert not ran.exists()
    assert planted.read_text().startswith("open(")


def test_nothing_is_written_through_a_link_that_another_user_planted(
    mallory: Stranger, public: Path, tmp_path: Path
) -> None:
    mallory.does(f'os.symlink("{tmp_path}", "{public}/dnn")')
    assert refusal(call(public / "dnn")).startswith(f"{public}/dnn belongs to {mallory.shown}; ")
    assert list(tmp_path.iterdir()) == []


def test_the_right_tools_in_another_users_directory_are_refused_all_the_same(
    mallory: Stranger, public: Path
) -> None:
    path = public / "dnn" / "tools" / f"{tools().digest[:16]}.py"
    (public / "good").write_bytes(tools().content)
    mallory.does(
        f"""
os.umask(0o22)
os.makedirs("{path.parent}")
shutil.copy("{public}/good", "{path}")
"""
    )
    assert refusal(call(public / "dnn", "file")).startswith(f"{public}/dnn belongs to another user")


def test_a_directory_of_ours_among_those_of_others_is_used_and_closed_to_them(
    public: Path,
) -> None:
    directory = public / "below" / "dnn"
    done = call(directory)
    assert (done.returncode, done.stderr) == (0, b"")
    made = [directory.parent, directory, *directory.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in made} == {0}
    assert call(directory, "file").returncode == 0


@pytest.mark.parametrize("command", ["facts", "status", "stop", "remove", "start", "install"])
def test_every_command_refuses_a_directory_that_others_may_write_to_and_names_the_cure(
    host: KeptHost, command: str
) -> None:
    host.directory.chmod(0o770)
    told = problem(host.call(command, **{**host.start_request(), "ports": [23000, 23000]}))
    assert told == (
        f"{host.directory} may be written to by other users (mode 0770); "
        f"chmod go-w {host.directory} there"
    )
    host.directory.chmod(0o700)


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("env/key", "facts"),
        ("env/key/bin", "facts"),
        ("packages/digest", "facts"),
        ("data/digest/images", "facts"),
        ("wheels/tensorflow.whl", "install"),
        ("env/agent_without_tensorflow.py", "start"),
        ("clusters/c1", "start"),
        ("clusters/c1/node1", "stop"),
    ],
)
def test_what_another_user_once_put_into_the_directory_is_refused_and_named(
    mallory: Stranger, host: KeptHost, path: str, command: str
) -> None:
    for name in ("env/key/bin", "packages/digest", "data/digest", "wheels", "clusters/c1/node1"):
        (host.directory / name).mkdir(parents=True, exist_ok=True)
    foreign = host.directory / path
    if not foreign.exists():
        foreign.touch()
    os.chown(foreign, mallory.uid, mallory.gid)
    asked = {
        "environments": ["key"],
        "data": [{"path": "data/digest/images", "sha256": ""}],
        "port_range": [21000, 21999],
    }
    request = host.start_request() if command == "start" else {"cluster": "c1"}
    answer = host.call(
        command, **{**request, **asked, **({"ports": [1, 0]} if command == "facts" else {})}
    )
    assert problem(answer) == (
        f"{foreign} belongs to {mallory.shown}; find out why, then remove it there"
    )
    os.chown(foreign, 0, 0)


def test_a_socket_of_another_user_in_the_keepers_place_is_not_talked_to(
    mallory: Stranger, public: Path
) -> None:
    path = public / "agent.sock"
    script = BIND.format(name=str(path), answer="asker.send(b'{\"welcome\": 1}\\n')")
    with mallory.doing(script):
        done = subprocess.run(
            [*TOOLS, "relay", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert problem(json.loads(done.stdout)).startswith(f"{path} is held by {mallory.shown}; run")


# --- which paths are safe -------------------------------------------------------------------------


def is_safe(path: Path) -> bool:
    try:
        trust.refuse_foreign(str(path))
    except HostProblem:
        return False
    return True


@pytest.mark.parametrize(
    ("modes", "safe"),
    [
        ({"a": 0o755, "a/b": 0o700}, True),
        ({"a": 0o1777, "a/b": 0o700}, True),
        ({"a": 0o777, "a/b": 0o700}, False),
        ({"a": 0o775, "a/b": 0o700}, False),
        ({"a": 0o700, "a/b": 0o1777}, False),
        ({"a": 0o1777, "a/b": 0o1777, "a/b/c": 0o700}, True),
    ],
)
def test_a_path_is_safe_if_nobody_else_can_exchange_a_part_of_it(
    tmp_path: Path, modes: dict[str, int], safe: bool
) -> None:
    for name, mode in modes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    assert is_safe(tmp_path / list(modes)[-1]) == safe


def test_links_are_followed_to_where_they_lead(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "x").mkdir(mode=0o700)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to("open/x")
    (tmp_path / "up").symlink_to(f"link/../../{tmp_path.name}/link")
    (tmp_path / "round").symlink_to("round")
    assert not is_safe(tmp_path / "link")
    assert not is_safe(tmp_path / "up" / "more")
    assert is_safe(tmp_path / "round" / "x")  # leads nowhere
    (tmp_path / "open").chmod(0o755)
    assert is_safe(tmp_path / "up")


def test_what_is_above_the_home_directory_is_its_owners_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "me"
    home.mkdir(parents=True)
    home.parent.chmod(0o777)
    assert not is_safe(home / "x")
    monkeypatch.setenv("HOME", str(home))
    assert is_safe(home / "x")
    home.chmod(0o777)
    assert not is_safe(home / "x")
