"""Call commands of `dnnbench.hosts.onhost` on a host; push the tools there if they are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.provision.answers import decode, refuse_error
from dnnbench.hosts.provision.bundle import PYTHON_RANGE, tools
from dnnbench.hosts.provision.invocation import FROM_FILE, FROM_INPUT, MISSING, command_line
from dnnbench.text.safe import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnnbench.errors import CauseKind
    from dnnbench.hosts.connectors.interface import Completed, Connection, Conversation
    from dnnbench.settings.schema import Config

CALL_TIMEOUT_S = 30.0
_PUSH_TIMEOUT_S = 60.0
_NO_COMMAND = (126, 127)
"""A shell's exit codes for a command that it may not run, or does not find; some use the former if
they may not search a directory of ``PATH``."""
_TOO_OLD: Final = ("SyntaxError", "Try `python")
"""Beginnings of the error that a Python older than 3.7 prints: it cannot parse the tools or, older
than 3.4, does not know the option -I."""
_LAST_LINES: Final = 3
"""Last lines of an error output among which that error is: srun adds one of its own."""


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
            HostError: the host could not be asked, or the command reports an error.
        """
        *_, answer = self.lines(command, timeout_s, **request)
        return answer

    def lines(
        self, command: str, timeout_s: float = CALL_TIMEOUT_S, **request: Any
    ) -> Iterator[dict[str, Any]]:
        """Run a command to its end and yield the lines of its answer; raises as `call` does."""
        content = self._request(request)
        done = self.connection.run(self._line(command), content, timeout_s, name=command)
        if done.code == MISSING:
            line = self._line(command, source=FROM_INPUT)
            content = self._bundle.content + content
            done = self.connection.run(line, content, timeout_s + _PUSH_TIMEOUT_S, name=command)
        answers = [self._decoded(text) for text in done.stdout.splitlines()]
        for answer in answers:
            refuse_error(self.host, answer)
        if done.code or not answers:
            raise self._failed(done)
        yield from answers

    def begin(
        self, command: str, timeout_s: float = CALL_TIMEOUT_S, **request: Any
    ) -> dict[str, Any]:
        """Run a command that goes on after its answer; the tools must already be there.

        Raises:
            HostError: as `call`.
        """
        conversation = self.open(command)
        try:
            conversation.write(self._request(request))
            answer = self._first_answer(conversation, command, timeout_s)
        except BaseException:
            conversation.close()
            raise
        conversation.leave()
        return answer

    def open(self, command: str, *arguments: str) -> Conversation:
        """Start a command that holds a conversation; the tools must already be there."""
        return self.connection.open(self._line(command, *arguments), name=command)

    def _first_answer(
        self, conversation: Conversation, command: str, timeout_s: float
    ) -> dict[str, Any]:
        line = conversation.read_line(timeout_s)
        if not line:
            last = one_line("".join(conversation.errors.splitlines()[-1:]))
            problem = f"`{command}` ended without an answer: {last or 'no message'}"
            raise HostError(problem, where=self.host)
        answer = self._decoded(line)
        refuse_error(self.host, answer)
        return answer

    def _request(self, request: dict[str, Any]) -> bytes:
        return msgspec.json.encode({"directory": self._directory, **request}) + b"\n"

    def _line(self, command: str, *arguments: str, source: str = FROM_FILE) -> str:
        return command_line(
            self._python, self._directory, self._bundle, command, *arguments, source=source
        )

    def _decoded(self, line: bytes) -> dict[str, Any]:
        try:
            answer = decode(line)
        except ValueError:
            self.connection.refuse_unusable()
            text = line[:80].decode(errors="replace")
            problem = f"expected an answer in JSON, found {text!r}"
            raise HostError(problem, where=self.host) from None
        return answer

    def _failed(self, done: Completed) -> HostError:
        """Return an error for a command of the tools that gave no answer."""
        kind: CauseKind | None = None
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        last = one_line("".join(lines[-1:]))
        problem, remedy = f"the tools ended with {done.code}: {last or 'no message'}", None
        if done.code in _NO_COMMAND:
            problem, remedy = f"expected {self._python}, found none", self._python_remedy
            kind = "version"
        elif done.code == MISSING:
            problem, remedy = "the tools were damaged on the way to the host", None
        elif any(line.startswith(_TOO_OLD) for line in lines[-_LAST_LINES:]):
            problem, remedy = f"{self._python} there is older than 3.7", self._python_remedy
            kind = "version"
        else:
            self.connection.refuse_unusable()
        return HostError(problem, where=self.host, remedy=remedy).of_kind(kind)

    @property
    def _python_remedy(self) -> str:
        if self._is_python_named:
            return "install it there, or name another in [provision] python"
        return f"install {PYTHON_RANGE} there, or name one in [provision] python"
