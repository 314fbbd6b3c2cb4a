"""A connection whose commands are processes here: of a shell, or of a program that leads there.

No connection stands open between commands, so each command finds out for itself whether the host
can be reached, and a program that fails is the cause, with the last line that it printed.
"""

from __future__ import annotations

import shlex
import threading
import uuid
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.errors import HostError
from dnnbench.hosts.connectors.commands import Stream, complete
from dnnbench.hosts.connectors.files import push
from dnnbench.hosts.connectors.interface import RUN_TIMEOUT_S, Completed, shortened
from dnnbench.hosts.connectors.process_channel import ProcessChannel
from dnnbench.text.safe import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.settings.schema import SshConfig

_MOST_SHELLS: Final = 2
"""Most shells on the way that read a command before the one that runs it."""
_SHOWN_CHARACTERS: Final = 80


class ProcessRoute(NamedTuple):
    """A way to a host through processes; see :class:`dnnbench.hosts.connectors.interface.Route`.

    Attributes:
        words: shell command -> the program with its arguments that runs it there.
    """

    host: str
    address: str
    words: Callable[[str], list[str]]

    def connect(self, settings: SshConfig) -> ProcessConnection:
        """See :class:`dnnbench.hosts.connectors.interface.Route`."""
        connection = ProcessConnection(self.host, self.words)
        connection.find_shell(settings.connect_timeout_s + settings.login_timeout_s)
        return connection


class ProcessStream(Stream):
    """A conversation with a process."""

    def __init__(
        self, channel: ProcessChannel, host: str, shown: str, ended: Callable[[Stream], None]
    ) -> None:
        super().__init__(channel, host, shown)
        self._process = channel
        self._ended = ended

    def close(self) -> None:
        """End the conversation and the process. Idempotent."""
        self._ended(self)
        super().close()

    def leave(self) -> None:
        """Let the process run on without this one."""
        self._ended(self)
        self._process.leave()


class ProcessConnection:
    """See :class:`dnnbench.hosts.connectors.interface.Connection`."""

    def __init__(self, host: str, words: Callable[[str], list[str]]) -> None:
        self.host = host
        self._words = words
        self._shells = 0
        self._program = PurePath(words("")[0]).name
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether it was not closed; only a command can tell whether the host is still there."""
        return not self._is_closed

    def run(
        self,
        command: str,
        stdin: bytes = b"",
        timeout_s: float = RUN_TIMEOUT_S,
        *,
        name: str | None = None,
    ) -> Completed:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        shown = name or shortened(command)
        channel = self._start(command)
        done = complete(channel, self.host, shown, stdin=stdin, timeout_s=timeout_s)
        if done.code < 0:
            problem = f"`{self._program}` was ended by signal {-done.code} while `{shown}` ran"
            raise HostError(problem, where=self.host)
        return done

    def open(self, command: str, *, name: str | None = None) -> Stream:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        channel = self._start(command)
        stream = ProcessStream(channel, self.host, name or shortened(command), self._forget)
        with self._lock:
            if not self._is_closed:
                self._streams.add(stream)
                return stream
        stream.close()
        raise HostError("the connection is closed", where=self.host)

    def push(self, local: Path | bytes, remote: str) -> None:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        push(self, local, remote)

    def refuse_unusable(self) -> None:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        self.find_shell(RUN_TIMEOUT_S)

    def close(self) -> None:
        """See :class:`dnnbench.hosts.connectors.interface.Connection`."""
        with self._lock:
            self._is_closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.close()

    def find_shell(self, timeout_s: float) -> None:
        """Verify that a command runs there and nothing else prints; count the shells on the way.

        A program such as ``podman exec`` runs its arguments as they are. ``ssh`` joins them for a
        shell of the host, so they have to be quoted once more: unquoted, ``sh -c 'echo word'``
        prints an empty line there.

        Raises:
            HostError: no command runs; the program's last line of error output is the cause.
        """
        word = f"dnnbench-{uuid.uuid4().hex}"
        for shells in range(_MOST_SHELLS + 1):
            self._shells = shells
            done = self.run(f"echo {word}", timeout_s=timeout_s, name=f"echo {word[:8]}")
            text = done.stdout.decode(errors="replace")
            if word in text.splitlines():
                break
            if done.code or text.strip():
                raise self._unusable(done, text)
        else:
            raise self._unusable(done, "")
        if extra := text.replace(word, "").strip():
            problem = f"something prints {_short(extra)!r} before every command"
            remedy = "let nothing on the way to the host print to standard output"
            raise HostError(problem, where=self.host, remedy=remedy)

    def _unusable(self, done: Completed, text: str) -> HostError:
        cause = cause_of(done.stderr.decode(errors="replace"))
        problem = f"ended with {done.code}: {cause or 'no message'}"
        if not done.code:
            problem = f"runs no command there: {cause or f'`echo` printed {_short(text)!r}'}"
        remedy = f"try it by hand: {shlex.join(self._words('echo hello'))}"
        return HostError(f"`{self._program}` {problem}", where=self.host, remedy=remedy)

    def _start(self, command: str) -> ProcessChannel:
        for _ in range(self._shells):
            command = shlex.quote(command)
        if self._is_closed:
            raise HostError("the connection is closed", where=self.host)
        words = self._words(command)
        try:
            return ProcessChannel(words)
        except OSError as error:
            problem = f"`{words[0]}` cannot be started: {error.strerror}"
            remedy = "install it on this machine, or correct `connect`"
            raise HostError(problem, where=self.host, remedy=remedy) from error

    def _forget(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)


def cause_of(errors: str) -> str:
    """Return the line of an error output that tells most: the last one with "error", or the last.

    A program such as kubectl prints a hint after its error.
    """
    lines = [line for line in errors.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines
    return one_line("".join(telling[-1:]))


def _short(text: str) -> str:
    return " ".join(text.split())[:_SHOWN_CHARACTERS]
