"""Call a command of `dnnbench.onhost` on a host, pushing the tools there where they are missing."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.deploy.bundle import tools
from dnnbench.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnnbench.config import Config
    from dnnbench.deploy.bundle import Bundle
    from dnnbench.transport.ssh.commands import Completed, Stream
    from dnnbench.transport.ssh.connection import Connection

CALL_TIMEOUT_S = 30.0
_PUSH_TIMEOUT_S = 60.0
_MISSING = b"can't open file"
_NO_COMMAND = 127
"""What a shell returns for a command it does not find."""


class HostTools:
    """The tools' commands on one host."""

    def __init__(self, connection: Connection, config: Config) -> None:
        self.connection = connection
        self._directory = config.cluster.directory
        self._python = config.provision.python or "python3"
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
        done = self.connection.run(line, content, timeout_s)
        if _MISSING in done.stderr:
            self._push()
            done = self.connection.run(line, content, timeout_s)
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
        return self.connection.open(line)

    def _push(self) -> None:
        """Put the tools on the host, whole or not at all; needs nothing but a shell."""
        line = push_line(self._directory, self._bundle)
        done = self.connection.run(line, self._bundle.content, _PUSH_TIMEOUT_S)
        if done.code:
            raise self._failed(done)

    def _decoded(self, line: bytes) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = msgspec.json.decode(line, type=dict)
        except msgspec.DecodeError:
            text = line[:80].decode(errors="replace")
            raise HostError(
                f"expected an answer in JSON, found {text!r}",
                where=self.host,
                remedy="a shell's start-up file there must not print when it is not interactive",
            ) from None
        return answer

    def _failed(self, done: Completed) -> HostError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if done.code == _NO_COMMAND:
            return HostError(
                f"expected {self._python}, found none",
                where=self.host,
                remedy="install Python 3.10 to 3.13 there, or name one in [provision] python",
            )
        cause = said[-1] if said else "it said nothing"
        remedy = None
        if "No space left" in cause:
            remedy = "free some space there, or set [cluster] directory to another disk"
        return HostError(f"ended with {done.code}: {cause}", where=self.host, remedy=remedy)


def command_line(python: str, directory: str, bundle: Bundle, command: str, *arguments: str) -> str:
    """Write the shell's line that runs a command of the tools."""
    words = [shlex.quote(python), _tools_path(directory, bundle), command]
    return " ".join([*words, *map(shlex.quote, arguments)])


def push_line(directory: str, bundle: Bundle) -> str:
    """Write the shell's line that stores the tools, which come on its standard input."""
    path = _tools_path(directory, bundle)
    folder = path.rpartition("/")[0]
    script = (
        f"umask 077; mkdir -p {folder} && cat > {path}.$$ && mv {path}.$$ {path}"
        f" || {{ rm -f {path}.$$; exit 1; }}"
    )
    return f"sh -c {shlex.quote(script)}"


def shell_path(path: str) -> str:
    """Quote a path on a host; ``~/`` stays what it is, for the host's shell to expand."""
    return f"~/{shlex.quote(path[2:])}" if path.startswith("~/") else shlex.quote(path)


def _tools_path(directory: str, bundle: Bundle) -> str:
    return shell_path(f"{directory}/tools/{bundle.digest}.pyz")
