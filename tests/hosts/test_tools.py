"""How the tools on a host are called: the shells' lines, and what is made of their answers."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.connectors.interface import Completed
from dnnbench.hosts.provision.bundle import Bundle, tools
from dnnbench.hosts.provision.invocation import FROM_INPUT, command_line
from dnnbench.hosts.provision.tools import HostTools
from dnnbench.hosts.ssh.shell import refuse_unusable
from dnnbench.settings.schema import ClusterConfig, Config, ProvisionConfig

if TYPE_CHECKING:
    from dnnbench.hosts.connectors.interface import Connection

BUNDLE = Bundle(b"import sys; print(sys.argv[1:])\n")
NAME = f"{BUNDLE.digest[:16]}.py"
ANSWER = b'{"state":"ok"}\n'


class Shell:
    """Has a shell carry out lines, as sshd has the user's."""

    def __init__(self, path: str, home: Path) -> None:
        self._path = path
        self._home = home

    def run(self, line: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._path, "-c", line],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self._home)},
            cwd=self._home,
            input=given,
            capture_output=True,
            check=False,
        )


@pytest.fixture(params=["sh", "bash", "csh", "fish"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    return Shell(path, tmp_path)


@pytest.mark.parametrize(
    ("directory", "place"),
    [
        ("~/.dnnbench", ".dnnbench"),
        ("~", "."),
        ('~/it\'s  my "$HOME" & `more`/ü', 'it\'s  my "$HOME" & `more`/ü'),
        ("{home}/a;b ~", "a;b ~"),
        ("below/it", "below/it"),
    ],
)
def test_every_shell_finds_the_tools_in_any_directory_once_they_are_pushed(
    shell: Shell, tmp_path: Path, directory: str, place: str
) -> None:
    directory = directory.format(home=tmp_path)
    call = command_line(sys.executable, directory, tools(), "facts")
    request = json.dumps({"directory": directory, "ports": [23000, 23000]}).encode() + b"\n"
    assert shell.run(call, request).returncode == 66
    push = command_line(sys.executable, directory, tools(), "facts", source=FROM_INPUT)
    pushed = shell.run(push, tools().content + request)
    assert (pushed.returncode, pushed.stderr) == (0, b"")
    folder = tmp_path / place / "tools"
    (file,) = folder.iterdir()
    assert file.read_bytes() == tools().content
    assert (mode(folder.parent), mode(folder), mode(file)) == (0o700, 0o700, 0o600)
    called = shell.run(call, request)
    assert json.loads(called.stdout)["directory"] == json.loads(pushed.stdout)["directory"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def kept(home: Path, directory: str = "d") -> Path:
    """Put the small tools where a call looks for them."""
    path = home / directory / "tools" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(BUNDLE.content)
    return path


def test_every_shell_passes_arguments_on_and_says_that_there_is_no_python(
    shell: Shell, tmp_path: Path
) -> None:
    kept(tmp_path)
    called = shell.run(command_line(sys.executable, "~/d", BUNDLE, "relay", "a \"b\" 'c' $d"))
    assert called.stdout.decode() == str(["relay", "a \"b\" 'c' $d"]) + "\n"
    assert shell.run(command_line("python3.99", "~/d", BUNDLE, "facts")).returncode == 127


@pytest.mark.parametrize(
    "version", ["2.7.18", "3.6.15", "3.7.16", "3.8.18", "3.9.18", "3.12.1", "3.13.0"]
)
def test_every_python_runs_the_tools_or_is_called_too_old(tmp_path: Path, version: str) -> None:
    name = f"python{'.'.join(version.split('.')[:2])}"
    found = [path for path in (shutil.which(name), *pyenv(version)) if path and runs(path)]
    if not found:
        pytest.skip(f"{name} is not here")
    shell = Shell("/bin/sh", tmp_path)
    request = b'{"directory":"~/d","ports":[23000,23000]}\n'
    line = command_line(found[0], "~/d", tools(), "facts", source=FROM_INPUT)
    done = shell.run(line, tools().content + request)
    completed = Completed(done.returncode, done.stdout, done.stderr)
    if tuple(map(int, version.split("."))) >= (3, 7):
        assert call(Host(completed))["user"]
    else:
        with pytest.raises(HostError, match=r"^node1: python3 there is older than 3\.7; install"):
            call(Host(completed))


def pyenv(version: str) -> list[str]:
    path = Path("~/.pyenv/versions").expanduser() / version / "bin" / "python"
    return [str(path)] if path.exists() else []


def runs(python: str) -> bool:
    """Tell whether it is a Python, and not what stands in for one that is not installed."""
    return not subprocess.run([python, "-V"], capture_output=True, check=False).returncode


def test_a_home_that_is_anothers_stays_for_the_shell_to_find() -> None:
    assert " ~alice/dnnbench/tools/" in command_line("p", "~alice/dnnbench", BUNDLE, "facts")
    assert " ~alice;rm" not in command_line("p", "~alice;rm/x", BUNDLE, "facts")


def test_what_is_not_the_tools_is_not_run_but_replaced(tmp_path: Path) -> None:
    shell = Shell("/bin/sh", tmp_path)
    line = command_line(sys.executable, "~/d", BUNDLE, "facts")
    path = kept(tmp_path)
    assert shell.run(line).returncode == 0
    path.write_bytes(BUNDLE.content.replace(b"argv", b"path"))  # as long
    assert shell.run(line).returncode == 66
    path.write_bytes(BUNDLE.content[:-1])
    assert shell.run(line).returncode == 66
    path.write_bytes(BUNDLE.content + b"print('more')\n")  # of which nothing runs
    assert shell.run(line).stdout == b"['facts']\n"
    path.unlink()
    os.mkfifo(path)  # whoever waits for it waits for ever
    assert shell.run(line).returncode == 66


def test_a_host_whose_link_spoils_the_tools_says_so(tmp_path: Path) -> None:
    line = command_line(sys.executable, "~/d", BUNDLE, "facts", source=FROM_INPUT)
    assert Shell("/bin/sh", tmp_path).run(line, BUNDLE.content[:-1]).returncode == 66
    with pytest.raises(HostError, match="the tools were damaged on the way to the host"):
        call(Host(Completed(66, b"", b""), Completed(66, b"", b"")))


class Host:
    """Answers calls in turn, keeps the lines and what they were given; its shell runs `echo`."""

    host = "node1"

    def __init__(self, *answers: Completed) -> None:
        self._answers = list(answers)
        self.lines: list[str] = []
        self.given: list[bytes] = []

    def run(self, line: str, given: bytes = b"", *_: Any, **__: Any) -> Completed:
        self.lines.append(line)
        if line.startswith("echo "):
            return Completed(0, f"{line[5:]}\n".encode(), b"")
        self.given.append(given)
        return self._answers.pop(0)

    def refuse_unusable(self) -> None:
        refuse_unusable(cast("Connection", self))


def call(host: Host, python: str | None = None) -> dict[str, Any]:
    config = Config(
        cluster=ClusterConfig(directory="~/d"), provision=ProvisionConfig(python=python)
    )
    return HostTools(cast("Connection", host), config).call("facts")


def test_missing_tools_are_pushed_with_the_same_call() -> None:
    host = Host(Completed(66, b"", b""), Completed(0, ANSWER, b""))
    assert call(host) == {"state": "ok"}
    assert [(" file facts" in line, " input facts" in line) for line in host.lines] == [
        (True, False),
        (False, True),
    ]
    first, second = host.given
    assert second == tools().content + first


TOO_OLD = b"  File x\nSyntaxError: future feature annotations is not defined\n"
PYTHON_2 = b"Unknown option: -I\nusage: python3\nTry `python -h' for more information.\n"
PROBLEM = b'{"error":{"problem":"is taken","remedy":"wait"}}\n'


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([(66, b"", b""), (1, PROBLEM, b"")], "is taken; wait"),
        ([(127, b"", b"sh: python3: not found\n")], "expected python3, found none; install Python"),
        ([(126, b"", b"sh: python3: denied\n")], "expected python3, found none; install Python"),
        ([(1, b"", TOO_OLD)], "python3 there is older than 3.7; install Python 3.10 to 3.13 there"),
        (
            [(1, b"", TOO_OLD + b"\nsrun: error: node1: task 0: Exited with exit code 1\n")],
            "python3 there is older than 3.7; install Python 3.10 to 3.13 there",
        ),
        (
            [(2, b"", PYTHON_2)],
            "python3 there is older than 3.7; install Python 3.10 to 3.13 there",
        ),
        ([(0, b"Hello!\n" + ANSWER, b"")], "expected an answer in JSON, found 'Hello!'"),
        ([(1, PROBLEM, b"")], "is taken; wait"),
        ([(-1, b"", b"")], "the tools ended with -1: no message"),
        ([(0, b"", b"")], "the tools ended with 0: no message"),
        ([(1, ANSWER, b"Traceback\nKeyError: 1\n")], "the tools ended with 1: KeyError: 1"),
    ],
)
def test_what_goes_wrong_is_one_line_with_the_host(
    answers: list[tuple[int, bytes, bytes]], line: str
) -> None:
    with pytest.raises(HostError) as caught:
        call(Host(*(Completed(*answer) for answer in answers)))
    assert str(caught.value).startswith(f"node1: {line}")


def test_who_has_named_a_python_is_told_to_name_another() -> None:
    with pytest.raises(HostError, match=r"python3\.9, found none; .* or name another in"):
        call(Host(Completed(127, b"", b"")), python="python3.9")
