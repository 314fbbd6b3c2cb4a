"""How the tools on a host are called: the shells' lines, and what is made of their answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.provision.bundle import Bundle
from dnnbench.hosts.provision.tools import HostTools, command_line, push_line
from dnnbench.hosts.ssh.commands import Completed
from dnnbench.settings.schema import ClusterConfig, Config, ProvisionConfig

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.hosts.ssh.connection import Connection

BUNDLE = Bundle("0123456789abcdef", b"import sys; print(sys.argv[1:])\n")
NAME = "0123456789abcdef.pyz"
ANSWER = b'{"state":"ok"}\n'


class Shell:
    """Has a shell carry out lines, as sshd has the user's."""

    def __init__(self, name: str, home: Path) -> None:
        self._name = name
        self._home = home

    def run(self, line: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._name, "-c", line],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self._home)},
            cwd=self._home,
            input=given,
            capture_output=True,
            check=False,
        )


@pytest.fixture(params=["sh", "bash", "csh", "fish"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return Shell(request.param, tmp_path)


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
    call = command_line(sys.executable, directory, BUNDLE, "relay", "a 'socket'")
    assert shell.run(call).returncode == 66
    pushed = shell.run(push_line(directory, BUNDLE), BUNDLE.content)
    assert (pushed.returncode, pushed.stderr) == (0, b"")
    folder = tmp_path / place / "tools"
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert folder.stat().st_mode & 0o077 == 0
    called = shell.run(call)
    assert called.stdout == b"['relay', \"a 'socket'\"]\n", called.stderr


def test_every_shell_says_alike_that_there_is_no_python_or_no_way_to_write(
    shell: Shell, tmp_path: Path
) -> None:
    shell.run(push_line("~/d", BUNDLE), BUNDLE.content)
    assert shell.run(command_line("python3.99", "~/d", BUNDLE, "facts")).returncode == 127
    (tmp_path / "file").touch()
    pushed = shell.run(push_line("~/file", BUNDLE), BUNDLE.content)
    assert pushed.returncode == 1
    assert pushed.stderr.endswith(b": Not a directory\n")


def test_a_home_that_is_anothers_stays_for_the_shell_to_find() -> None:
    assert "test -e ~alice/dnnbench/tools/" in command_line("p", "~alice/dnnbench", BUNDLE, "facts")
    assert " ~alice;rm" not in command_line("p", "~alice;rm/x", BUNDLE, "facts")


class Host:
    """Answers calls in turn, and keeps the lines; its shell runs `echo`."""

    host = "node1"

    def __init__(self, *answers: Completed) -> None:
        self._answers = list(answers)
        self.lines: list[str] = []

    def run(self, line: str, *_: Any, **__: Any) -> Completed:
        self.lines.append(line)
        if line.startswith("echo "):
            return Completed(0, f"{line[5:]}\n".encode(), b"")
        return self._answers.pop(0)


def call(host: Host, python: str | None = None) -> dict[str, Any]:
    config = Config(
        cluster=ClusterConfig(directory="~/d"), provision=ProvisionConfig(python=python)
    )
    return HostTools(cast("Connection", host), config).call("facts")


def test_missing_tools_are_pushed_and_called_again() -> None:
    host = Host(Completed(66, b"", b""), Completed(0, b"", b""), Completed(0, ANSWER, b""))
    assert call(host) == {"state": "ok"}
    first, pushed, again = host.lines
    assert first == again
    assert "cat >" in pushed


FULL = b"cat: write error: No space left on device\n"
DENIED = b"mkdir: cannot create directory '/x': Permission denied\n"
TOO_OLD = b"  File x\nSyntaxError: future feature annotations is not defined\n"
PYTHON_2 = b"Unknown option: -I\nusage: python3\nTry `python -h' for more information.\n"
PROBLEM = b'{"error":{"problem":"is taken","remedy":"wait"}}\n'


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([(66, b"", b""), (1, b"", FULL)], "cannot write to ~/d: No space left on device; free"),
        (
            [(66, b"", b""), (1, b"", DENIED)],
            "cannot write to ~/d: Permission denied; set [cluster",
        ),
        ([(127, b"", b"sh: python3: not found\n")], "expected python3, found none; install Python"),
        ([(126, b"", b"sh: python3: denied\n")], "expected python3, found none; install Python"),
        ([(1, b"", TOO_OLD)], "python3 there is older than 3.7; install Python 3.10 to 3.13 there"),
        (
            [(2, b"", PYTHON_2)],
            "python3 there is older than 3.7; install Python 3.10 to 3.13 there",
        ),
        ([(0, b"Hello!\n" + ANSWER, b"")], "expected an answer in JSON, found 'Hello!'"),
        ([(1, PROBLEM, b"")], "is taken; wait"),
        ([(-1, b"", b"")], "the tools ended with -1: they said nothing"),
        ([(0, b"", b"")], "the tools ended with 0: they said nothing"),
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
