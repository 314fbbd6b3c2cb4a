"""The commands that run on a bare host, called as they are there: a zip and any Python."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dnnbench.hosts.onhost
from dnnbench.hosts.onhost import (
    holdings,
    lines,
    machine,
    ports,
    process_table,
    pythons,
    state,
)
from dnnbench.hosts.onhost.__main__ import COMMANDS
from dnnbench.hosts.onhost.agent_process import AgentProcess
from dnnbench.hosts.onhost.pip import diagnosed
from dnnbench.hosts.provision import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 60.0
PORTS = [23000, 23019]
OWN_UV = Path(sys.executable).with_name("uv")
KEY = "environment-key"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tools") / "tools.pyz"
    path.write_bytes(bundle.tools().content)
    return path


class Host:
    """Calls commands on one directory."""

    def __init__(self, tools: Path, home: Path) -> None:
        self.tools = tools
        self.home = home

    def start(self, command: str, interpreter: str = sys.executable) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [interpreter, "-I", str(self.tools), command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines(
        self, command: str, interpreter: str = sys.executable, **request: Any
    ) -> list[dict[str, Any]]:
        with self.start(command, interpreter) as process:
            given = json.dumps({"directory": str(self.home), **request}) + "\n"
            said, complained = process.communicate(given, timeout=DEADLINE_S)
        assert not complained
        return [json.loads(line) for line in said.splitlines()]

    def call(
        self, command: str, interpreter: str = sys.executable, **request: Any
    ) -> dict[str, Any]:
        (answer,) = self.lines(command, interpreter, **request)
        return answer

    def facts(self, **request: Any) -> dict[str, Any]:
        return self.call("facts", **{"ports": PORTS, **request})

    def install(self, **request: Any) -> list[dict[str, Any]]:
        return self.lines("install", **request)


@pytest.fixture
def host(tools: Path, tmp_path: Path) -> Host:
    return Host(tools, tmp_path / "dnnbench")


@pytest.mark.parametrize("command", ["facts", "status", "start"])
def test_a_command_ends_where_its_request_never_comes(command: str) -> None:
    script = f"""
from dnnbench.hosts.onhost import __main__ as tools
function, _ = tools.COMMANDS[{command!r}]
tools.COMMANDS[{command!r}] = function, 1
raise SystemExit(tools.main([{command!r}]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        told = json.loads(process.stdout.read())["error"]
        assert process.wait(DEADLINE_S) == 1
    assert told["problem"] == f"`{command}` did not end within 1 s"


def test_every_command_ends_by_itself() -> None:
    without = {name for name, (_, most_s) in COMMANDS.items() if not most_s}
    assert without == {"relay", "probe"}


@pytest.mark.parametrize("talk", ["yes", "printf x; exec sleep 1000", "echo '[[[['", "echo 7"])
def test_what_is_called_a_python_and_is_none_is_not_listened_to_for_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, talk: str
) -> None:
    monkeypatch.setattr(pythons, "_DEADLINE_S", 0.5)
    script = tmp_path / "python3"
    script.write_text(f"#!/bin/sh\n{talk}\n")
    script.chmod(0o700)
    assert pythons.found(str(script)) == []


class Channel:
    """A pipe as `Lines` reads it."""

    def __init__(self, most_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "_LINE_BYTES", most_bytes)
        reading, self.writing = os.pipe()
        self.lines = lines.Lines(reading, os.dup(self.writing))

    def said(self, *chunks: bytes) -> list[list[bytes] | None]:
        found = []
        for chunk in chunks:
            os.write(self.writing, chunk)
            found.append(self.lines.read())
        return found


def test_lines_come_whole_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(100, monkeypatch)
    assert channel.said(b"a", b"b", b"c\nd\n\ne", b"\n") == [[], [], [b"abc", b"d", b""], [b"e"]]
    os.close(channel.writing)


def test_a_line_without_an_end_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel(100, monkeypatch)
    assert channel.said(b"a\n" + b"x" * 60, b"x" * 60) == [[b"a"], None]
    assert channel.lines.is_overlong
    os.close(channel.writing)


def test_everything_that_is_sent_is_python_3_7() -> None:
    sources = list(Path(dnnbench.hosts.onhost.__path__[0]).glob("*.py"))
    assert len(sources) > 5
    for source in sources:
        ast.parse(source.read_text(), source.name, feature_version=(3, 7))


@pytest.mark.parametrize("name", ["python3.7", "python3.8", "python3.9"])
def test_an_old_python_tells_the_facts(host: Host, name: str) -> None:
    found = shutil.which(name)
    if not found or subprocess.run([found, "-V"], capture_output=True, check=False).returncode:
        pytest.skip(f"{name} is not here")
    assert host.call("facts", found, ports=PORTS)["hostname"] == os.uname().nodename


def test_facts_say_what_this_machine_is(host: Host) -> None:
    facts = host.facts()
    assert facts["directory"] == str(host.home)
    assert facts["machine"] == os.uname().machine
    assert 0 < facts["cores"] <= (os.cpu_count() or 1)
    assert facts["memory_bytes"] > 1 << 28
    assert "127.0.0.1" in facts["addresses"]
    assert abs(facts["clock_s"] - time.time()) < DEADLINE_S
    assert facts["environments"] == facts["packages"] == []


def test_a_shared_directory_has_one_mark_whoever_comes_first(host: Host) -> None:
    with ThreadPoolExecutor(4) as pool:
        marks = {f["directory_id"] for f in pool.map(lambda _: host.facts(), range(4))}
    assert len(marks) == 1
    assert [path.name for path in host.home.iterdir()] == ["id"]


def test_the_directory_may_be_in_the_users_home(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Host(tools, Path("~/.dnnbench")).facts()["directory"] == f"{tmp_path}/.dnnbench"


def test_a_port_that_is_held_but_not_listened_on_is_not_free(host: Host) -> None:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        facts = host.facts(ports=[port, port])
        assert (facts["ports_free"], facts["ports_used"]) == (0, [port])
    assert host.facts(ports=[port, port])["ports_free"] == 1


def test_data_is_checked_by_what_is_in_it(host: Host) -> None:
    host.home.mkdir()
    (host.home / "good").write_bytes(b"as it was sent")
    (host.home / "bad").write_bytes(b"as it was not")
    digest = hashlib.sha256(b"as it was sent").hexdigest()
    wanted = [{"path": path, "sha256": digest} for path in ("good", "bad", "none")]
    assert host.facts(data=wanted)["data"] == {"good": "ok", "bad": "wrong", "none": "missing"}


def test_the_interpreter_asked_for_is_the_one_looked_at(host: Host) -> None:
    (found,) = host.facts(python=sys.executable)["pythons"]
    assert found["version"] == ".".join(map(str, sys.version_info[:3]))
    assert found["venv"]
    assert host.facts(python="python3.99")["pythons"] == []


def test_a_processor_without_avx_is_known(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu sse4_2 avx2\n")
    assert machine.missing_cpu_flags("x86_64", str(cpuinfo)) == ["avx"]
    assert machine.missing_cpu_flags("aarch64", str(cpuinfo)) == []
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx\n")
    assert machine.missing_cpu_flags("x86_64", str(cpuinfo)) == []


def test_what_cannot_be_written_is_one_line_with_a_cure(host: Host) -> None:
    host.home.write_text("a file")
    error = host.facts()["error"]
    assert "exists" in error["problem"] or "Not a directory" in error["problem"]
    assert "[cluster] directory" in error["remedy"]


def test_a_request_that_is_none_is_refused(host: Host) -> None:
    with host.start("facts") as process:
        said, _ = process.communicate("ls -l\n", timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "expected a JSON request, found 'ls -l" in json.loads(said)["error"]["problem"]


def _wheel(folder: Path, name: str) -> Path:
    """Make the smallest wheel that pip takes."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "WORD = 'here'\n")
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{about}/RECORD",
            f"{name}.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n",
        )
    return path


def _environment(*requirements: str, python: str = sys.executable) -> dict[str, Any]:
    return {
        "key": KEY,
        "python": python,
        "requirements": list(requirements),
        "index_url": None,
        "find_links": "wheels",
    }


def _states(steps: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(step["step"], step["state"]) for step in steps]


def test_an_installation_is_made_once_used_and_taken_away(host: Host) -> None:
    wheels = host.home / "wheels"
    wheels.mkdir(parents=True)
    _wheel(wheels, "needed")
    own = _wheel(wheels, "own")
    host.facts()
    request = {
        "environment": _environment("needed==1.0"),
        "package": {"digest": "d1", "wheel": f"wheels/{own.name}", "environment": KEY},
    }
    steps = host.install(**request)
    assert _states(steps) == [("environment", "changed"), ("package", "changed")], steps

    again = host.install(**request)
    assert _states(again) == [("environment", "ok"), ("package", "ok")]
    facts = host.facts(environments=[KEY, "another"])
    assert (facts["environments"], facts["packages"]) == ([KEY], ["d1"])
    assert facts["pythons"] == []  # there is nothing to make with one
    assert not (host.home / "tmp").exists()

    python = host.home / "env" / KEY / "bin" / "python"
    shown = subprocess.run(
        [python, "-c", "import needed, own; print(needed.WORD, own.WORD)"],
        env={"PYTHONPATH": str(host.home / "packages" / "d1")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "here here\n"

    # An interpreter that is gone, as after an upgrade of the system, makes it incomplete.
    python.unlink()
    assert host.facts(environments=[KEY])["environments"] == []

    assert host.call("remove") == {"removed": True, "left": []}
    assert not host.home.exists()
    assert host.call("remove") == {"removed": False, "left": []}


def test_an_installation_that_fails_leaves_only_its_log(host: Host) -> None:
    (host.home / "wheels").mkdir(parents=True)
    (failed,) = host.install(environment=_environment("absent==2.0"), package={"digest": "d1"})
    assert (failed["step"], failed["state"]) == ("environment", "failed")
    assert "no package of absent==2.0 fits" in failed["problem"]
    assert "wheels" in failed["remedy"]
    assert list((host.home / "env").iterdir()) == []
    assert "absent==2.0" in (host.home / "install.log").read_text()


def _uv(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o600)  # as a pushed file is


def test_a_uv_that_fails_leaves_the_installation_to_pip(host: Host) -> None:
    wheels = host.home / "wheels"
    wheels.mkdir(parents=True)
    _wheel(wheels, "needed")
    _uv(host.home / "tools" / "uv", 'echo "called with $*"; exit 2')
    host.facts()
    (step,) = host.install(environment={**_environment("needed==1.0"), "uv": "tools/uv"})
    assert step["state"] == "changed", step
    log = (host.home / "install.log").read_text()
    python = host.home / "env" / KEY / "bin" / "python"
    assert f"--python {python} --no-index --find-links {wheels} needed==1.0" in log
    assert "uv failed: the installation failed: called with pip install" in log
    assert "Successfully installed needed-1.0" in log


@pytest.mark.skipif(not OWN_UV.exists(), reason="there is no uv beside this Python")
def test_a_real_uv_installs_what_pip_would(host: Host) -> None:
    wheels = host.home / "wheels"
    wheels.mkdir(parents=True)
    _wheel(wheels, "needed")
    (host.home / "tools").mkdir()
    shutil.copy(OWN_UV, host.home / "tools" / "uv")
    host.facts()
    (step,) = host.install(environment={**_environment("needed==1.0"), "uv": "tools/uv"})
    assert step["state"] == "changed", step
    assert "Successfully installed needed" not in (host.home / "install.log").read_text()  # pip
    assert list((host.home / "env" / KEY).rglob("needed.py"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.getuid():
        pytest.skip("only root mounts")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "dnnbench-test", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_meanwhile_is_named_and_left_as_it_was(
    tools: Path, small_disk: Path
) -> None:
    host = Host(tools, small_disk / "dnnbench")
    (failed,) = host.install(environment=_environment("needed"))
    assert "no disk space" in failed["problem"], failed
    assert list((host.home / "env").iterdir()) == []


class Endless:
    """What is called as a Python, notes its process id and never ends."""

    def __init__(self, folder: Path) -> None:
        self._noted = folder / "pid"
        self.script = folder / "endless"
        self.script.write_text(
            "#!/bin/sh\n"
            f"echo $$ >{folder}/aside\n"
            f"mv {folder}/aside {self._noted}\n"
            "exec sleep 1000\n"
        )
        self.script.chmod(0o700)

    @contextlib.contextmanager
    def installing(self, host: Host) -> Iterator[subprocess.Popen[str]]:
        """Start an installation with it, and enter when it has begun."""
        request = {"directory": str(host.home), "environment": self.environment()}
        with host.start("install") as process:
            try:
                assert process.stdin
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.close()  # a request may be all of it: that alone ends nothing
                _until(lambda: self._noted.exists() or process.poll() is not None)
                yield process
            finally:
                process.terminate()

    def environment(self) -> dict[str, Any]:
        return _environment("x", python=str(self.script))

    def has_ended(self) -> bool:
        return process_table.started(int(self._noted.read_text())) is None


@pytest.fixture
def endless(tmp_path: Path) -> Endless:
    return Endless(tmp_path)


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_an_installation_ends_at_its_deadline_with_all_it_started(
    host: Host, endless: Endless
) -> None:
    (failed,) = host.install(environment=endless.environment(), deadline_s=2)
    assert "did not end in time" in failed["problem"]
    assert endless.has_ended()


@pytest.mark.parametrize("how", ["the connection drops", "it is told to end"])
def test_an_installation_ends_when_nobody_waits_for_it(
    host: Host, endless: Endless, how: str
) -> None:
    with endless.installing(host) as process:
        assert process.stdout
        if how == "the connection drops":
            process.stdout.close()
        else:
            process.terminate()
        process.wait(DEADLINE_S)
    assert endless.has_ended()
    assert list((host.home / "env").iterdir()) == []


def test_whoever_holds_the_lock_is_named(host: Host, endless: Endless) -> None:
    with endless.installing(host) as first:
        (refused,) = host.install(environment=_environment("x"), deadline_s=0.2)
    holder = f"process {first.pid} on {os.uname().nodename} has held"
    assert holder in refused["error"]["problem"]


_NO_SPACE = """\
ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device
"""
_OFFLINE = """\
WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError('...: Failed to
establish a new connection: [Errno 101] Network is unreachable')': /simple/tensorflow-cpu/
ERROR: Could not find a version that satisfies the requirement tensorflow-cpu==2.21.0
ERROR: No matching distribution found for tensorflow-cpu==2.21.0
"""
_UNMATCHED = """\
ERROR: Could not find a version that satisfies the requirement numpy==2.4.6 (from versions: 2.2.6)
ERROR: No matching distribution found for numpy==2.4.6
"""


@pytest.mark.parametrize(
    ("said", "problem", "remedy"),
    [
        (_NO_SPACE, "no disk space", "[cluster] directory"),
        (_OFFLINE, "cannot be used: Network is unreachable", "[provision] index_url"),
        (_UNMATCHED, "no package of numpy==2.4.6 fits", "[provision] python"),
        ("/usr/bin/python3: No module named ensurepip", "ensurepip is missing", "python3-venv"),
        ("Traceback:\nImportError: no idea", "ImportError: no idea", "see the.log there"),
        ("", "it printed nothing", "see the.log there"),
    ],
)
def test_a_failed_installation_is_one_line_and_a_cure(said: str, problem: str, remedy: str) -> None:
    found = diagnosed(said, "the.log")
    assert problem in found.problem
    assert remedy in (found.remedy or "")


def test_a_directory_of_somebody_elses_is_not_removed(host: Host) -> None:
    host.home.mkdir()
    (host.home / "thesis.tex").write_text("years")
    assert "was not created by dnnbench" in host.call("remove")["error"]["problem"]
    assert (host.home / "thesis.tex").read_text() == "years"


def test_what_is_not_ours_stays_when_the_rest_is_removed(host: Host) -> None:
    host.facts()
    (host.home / "thesis.tex").write_text("years")
    (host.home / "data").mkdir()
    assert host.call("remove") == {"removed": True, "left": ["thesis.tex"]}
    assert [path.name for path in host.home.iterdir()] == ["thesis.tex"]


def test_nothing_is_removed_under_a_cluster_that_stands(host: Host) -> None:
    host.facts()
    standing = state.State(str(host.home), "c1", "h1")
    standing.make()
    started = process_table.started(os.getpid())
    record = {"pid": os.getpid(), "started": started, "owner": "ann", **state.place("host")}
    standing.write(record)
    assert "a cluster of ann is running in" in host.call("remove")["error"]["problem"]
    standing.write({**record, "started": 1})  # the number was given out again: the keeper is gone
    assert host.call("remove")["removed"]


def _ask(probe: subprocess.Popen[str], request: dict[str, Any]) -> dict[str, Any]:
    assert probe.stdin
    assert probe.stdout
    probe.stdin.write(json.dumps(request) + "\n")
    probe.stdin.flush()
    answer: dict[str, Any] = json.loads(probe.stdout.readline())
    return answer


def test_probes_measure_each_other_and_name_what_they_cannot_reach(host: Host) -> None:
    with host.start("probe") as here, host.start("probe") as there, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port_here = _ask(here, {"listen": PORTS})["port"]
        port_there = _ask(there, {"listen": PORTS})["port"]
        assert port_here != port_there
        targets = [
            {"name": "there", "address": "127.0.0.1", "port": port_there, "bytes": 1 << 20},
            {"name": "closed", "address": "127.0.0.1", "port": closed.getsockname()[1]},
        ]
        reached = _ask(here, {"connect": targets, "timeout_s": 5})
        assert reached["name"] == "there"
        assert 0 < reached["round_trip_ms"] < 1000
        assert reached["bytes_per_s"] > 1e5
        assert here.stdout
        refused = json.loads(here.stdout.readline())
        assert refused == {"name": "closed", "problem": "connection refused"}
        back = {"name": "here", "address": "127.0.0.1", "port": port_here, "bytes": 0}
        assert _ask(there, {"connect": [back], "timeout_s": 5})["bytes_per_s"] is None
        for probe in (here, there):
            _, complained = probe.communicate(timeout=DEADLINE_S)
            assert (probe.returncode, complained) == (0, "")


def test_a_probe_without_a_free_port_says_so(host: Host) -> None:
    with socket.socket() as held, host.start("probe") as probe:
        held.bind(("", 0))
        port = held.getsockname()[1]
        answer = _ask(probe, {"listen": [port, port]})
        assert "is free" in answer["error"]["problem"]


def test_a_port_that_is_held_is_free_for_nobody_who_looks() -> None:
    held, holders = holdings.hold_ports((23_900, 23_999), 2)
    try:
        assert not any(ports.is_free(port) for port in held)
    finally:
        for holder in holders:
            holder.close()


@pytest.mark.parametrize(
    ("code", "kills", "kind"),
    [
        (-signal.SIGKILL, 2, "out-of-memory"),
        (-signal.SIGKILL, 1, "crashed"),
        (-signal.SIGILL, 2, "illegal-instruction"),
        (-signal.SIGSEGV, 1, "crashed"),
        (1, 2, None),
        (0, 1, None),
    ],
)
def test_the_end_of_an_agent_has_the_kind_that_code_and_kernel_tell(
    monkeypatch: pytest.MonkeyPatch, code: int, kills: int, kind: str | None
) -> None:
    agent = AgentProcess.__new__(AgentProcess)
    agent.code, agent._oom_kills = code, 1
    monkeypatch.setattr("dnnbench.hosts.onhost.agent_process.kernel.oom_kills", lambda: kills)
    assert agent.kind == kind
