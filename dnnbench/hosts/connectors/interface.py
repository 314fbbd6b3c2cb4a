"""The narrow interface through which everything else talks to a host, however it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.settings.schema import SshConfig

RUN_TIMEOUT_S: Final = 60.0
_SHOWN_CHARACTERS: Final = 80


class Completed(NamedTuple):
    """A command that has ended.

    Attributes:
        code: its exit code, -1 if a signal ended it.
        stdout: the whole output, at most `dnnbench.hosts.connectors.commands.ANSWER_BYTES`.
        stderr: the end of the error output.
    """

    code: int
    stdout: bytes
    stderr: bytes


class Conversation(Protocol):
    """A running command on a host, with its input and its output in lines."""

    @property
    def host(self) -> str:
        """The host's name."""

    @property
    def errors(self) -> str:
        """The end of what it wrote to its standard error."""

    def read_line(self, timeout_s: float | None = None) -> bytes:
        """Return the next line with its end, nothing at the end; HostError if it is too late.

        Of a line of `LINE_BYTES` or more, return that many bytes.
        """

    def write(self, data: bytes) -> None:
        """Send data; HostError if the command does not take it."""

    def close(self) -> None:
        """End it, even while another thread reads. Idempotent."""

    def leave(self) -> None:
        """Let it run on without this process."""


class Connection(Protocol):
    """An open connection to a host. One thread may read and another write at the same time."""

    @property
    def host(self) -> str:
        """The host's name in the inventory."""

    @property
    def is_open(self) -> bool:
        """Whether it is open, as far as this side knows."""

    def run(
        self,
        command: str,
        stdin: bytes = b"",
        timeout_s: float = RUN_TIMEOUT_S,
        *,
        name: str | None = None,
    ) -> Completed:
        """Run a command to its end.

        Args:
            command: command line for a shell on the host.
            stdin: its input.
            timeout_s: for the whole command.
            name: the command's name in errors.

        Raises:
            HostError: it cannot be started or takes too long, or the connection is lost.
        """

    def open(self, command: str, *, name: str | None = None) -> Conversation:
        """Start a command for a conversation.

        Raises:
            HostError: it cannot be started.
        """

    def push(self, local: Path | bytes, remote: str) -> None:
        """Write a file on the host, whole or not at all; create its directory if needed.

        Args:
            local: the file, or its content.
            remote: path on the host; ``~/`` is the user's home.

        Raises:
            HostError: it cannot be written there, for example because the disk is full.
        """

    def refuse_unusable(self) -> None:
        """Verify that a command runs there, and that nothing else prints.

        Raises:
            HostError: it does not; with the cause.
        """

    def close(self) -> None:
        """Close it, and end the commands that run over it. Idempotent."""


class Route(Protocol):
    """A way to a host that was found in the settings, without asking the host."""

    @property
    def address(self) -> str:
        """The address at which other hosts reach it, unless its ``data_address`` is set."""

    def connect(self, settings: SshConfig) -> Connection:
        """Connect.

        Raises:
            HostError: the host cannot be reached; with cause and remedy.
        """


def shortened(command: str) -> str:
    """Return as much of a command as fits into a one-line message."""
    line = " ".join(command.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
