"""Call a command of `dnnbench.hosts.onhost` on a host; push the tools there if they are missing."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.provision.bundle import PYTHON_RANGE, tools
from dnnbench.hosts.ssh.shell import refuse_unusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnnbench.hosts.provision.bundle import Bundle
    from dnnbench.hosts.ssh.commands import Completed, Stream
    from dnnbench.hosts.ssh.connection import Connection
    from dnnbench.settings.schema import Config

CALL_TIMEOUT_S = 30.0
_PUSH_TIMEOUT_S = 60.0
_MISSING = 66
"""What our line returns where the tools are not there; EX_NOINPUT of sysexits.h."""
_NO_COMMAND = (126, 127)
"""What a shell returns for a command that it may not run or does not find; some return the former
where they may not look into a directory of ``PATH``."""
_UNREADABLE: Final = ("SyntaxError", "Try `")
"""What a Python older than 3.7 says of the tools, and Python 2 of its options."""
_FREE_SPACE: Final = "free some space there, or set [cluster] directory to another disk"
_OTHER_DIRECTORY: Final = "set [cluster] directory to one that the user may write to"
_NO_SPACE: Final = ("No space left on device", "Disk quota exceeded")
_USERS_HOME: Final = re.compile(r"~[\w.-]*(?=/|$)", re.ASCII)


class HostTools:
    """The tools' commands on one host."""

    def __init__(self, connection: Connection, config: Config) -> None:
        self.connection = connection
        self._directory = config.cluster.directory
        self._python = config.provision.python or "python3"
        self._is_python_named = config.provision.python is not None
        self._bundle = tools()

    @property
    def host(self) -> str:
        """The host's name."""
        return self.connection.host

    def call(
        self, command: str, timeout_s: float = CALL_TIMEOUT_S, **request: Any
    ) -> dict[str, Any]:
        """Run a command to its end and return its answer.

        Raises:
            HostError: the host could not be asked, or the command says why not.
        """
        *_, answer = self.lines(command, timeout_s, **request)
        return answer

    def lines(
        self, command: str, timeout_s: float = CALL_TIMEOUT_S, **request: Any
    ) -> Iterator[dict[str, Any]]:
        """Run a command to its end and return the lines of its answer; raises as `call` does."""
        line = command_line(self._python, self._directory, self._bundle, command)
        content = msgspec.json.encode({"directory": self._directory, **request}) + b"\n"
        done = self.connection.run(line, content, timeout_s, name=command)
        if done.code == _MISSING:
            self._push()
            done = self.connection.run(line, content, timeout_s, name=command)
        answers = [self._decoded(text) for text in done.stdout.splitlines()]
        for answer in answers:
            if "error" in answer:
                error = answer["error"]
                raise HostError(error["problem"], where=self.host, remedy=error.get("remedy"))
        if done.code or not answers:
            raise self._failed(done)
        yield from answers

    def open(self, command: str, *arguments: str) -> Stream:
        """Start a command that talks; the tools must be there already."""
        line = command_line(self._python, self._directory, self._bundle, command, *arguments)
        return self.connection.open(line, name=command)

    def _push(self) -> None:
        """Put the tools on the host, whole or not at all; needs nothing but a shell."""
        line = push_line(self._directory, self._bundle)
        done = self.connection.run(line, self._bundle.content, _PUSH_TIMEOUT_S, name="cat")
        if done.code:
            reason = _last_line(done).rpartition(": ")[2]
            raise HostError(
                f"cannot write to {self._directory}: {reason}",
                where=self.host,
                remedy=_FREE_SPACE if reason in _NO_SPACE else _OTHER_DIRECTORY,
            )

    def _decoded(self, line: bytes) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = msgspec.json.decode(line, type=dict)
        except msgspec.DecodeError:
            refuse_unusable(self.connection)
            text = line[:80].decode(errors="replace")
            problem = f"expected an answer in JSON, found {text!r}"
            raise HostError(problem, where=self.host) from None
        return answer

    def _failed(self, done: Completed) -> HostError:
        """Say why a command of the tools gave no answer."""
        said = _last_line(done)
        problem, remedy = f"the tools ended with {done.code}: {said or 'they said nothing'}", None
        if done.code in _NO_COMMAND:
            problem, remedy = f"expected {self._python}, found none", self._python_remedy
        elif said.startswith(_UNREADABLE):
            problem, remedy = f"{self._python} there is older than 3.7", self._python_remedy
        else:
            refuse_unusable(self.connection)
        return HostError(problem, where=self.host, remedy=remedy)

    @property
    def _python_remedy(self) -> str:
        if self._is_python_named:
            return "install it there, or name another in [provision] python"
        return f"install {PYTHON_RANGE} there, or name one in [provision] python"


def command_line(python: str, directory: str, bundle: Bundle, command: str, *arguments: str) -> str:
    """Write the shell's line that runs a command of the tools.

    Python must not look whether they are there: it looks twice, first for a zip, then for a script,
    and takes for a script what another host of the same home puts there in between. It leaves out
    what is installed there beside it (-I, -S): the tools need none of that, and start sooner.
    """
    path = _tools_path(directory, bundle)
    words = [shlex.quote(python), "-IS", path, command, *map(shlex.quote, arguments)]
    return _for_any_shell(f"test -e {path} || exit {_MISSING}; exec {' '.join(words)}")


def push_line(directory: str, bundle: Bundle) -> str:
    """Write the shell's line that stores the tools, which come on its standard input."""
    folder, path = shell_path(f"{directory}/tools"), _tools_path(directory, bundle)
    script = (
        f"LC_ALL=C; export LC_ALL; umask 077; "
        f"mkdir -p {folder} && cat > {path}.$$ && mv {path}.$$ {path}"
        f" || {{ rm -f {path}.$$; exit 1; }}"
    )
    return _for_any_shell(script)


def shell_path(path: str) -> str:
    """Quote a path on a host; ``~`` and ``~name`` stay, for the host's shell to expand."""
    home = _USERS_HOME.match(path)
    if home is None:
        return shlex.quote(path)
    rest = path[home.end() + 1 :]
    return f"{home.group()}/{shlex.quote(rest)}" if rest else home.group()


def _for_any_shell(script: str) -> str:
    """Write a line that has sh run a script: the user's shell may be another, such as csh."""
    return f"exec sh -c {shlex.quote(script)}"


def _tools_path(directory: str, bundle: Bundle) -> str:
    return shell_path(f"{directory}/tools/{bundle.digest}.pyz")


def _last_line(done: Completed) -> str:
    return "".join(done.stderr.decode(errors="replace").strip().splitlines()[-1:])
