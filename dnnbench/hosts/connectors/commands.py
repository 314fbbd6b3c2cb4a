"""Commands on a host, to their end or as a conversation in lines, over a channel of any kind."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from dnnbench.errors import HostError
from dnnbench.hosts.connectors.interface import Completed
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_BYTES: Final = LINE_BYTES
"""Longest output of a command that is run to its end. dnnbench's print a few thousand bytes."""
_CHUNK_BYTES: Final = 64 * 1024
_WRITE_TIMEOUT_S: Final = 60.0
_LAST_WORDS_TIMEOUT_S: Final = 1.0
_OVERDUE_S: Final = 1.0
_KEPT_CHUNKS: Final = 4
_CHECK_LOAD: Final = "is the host overloaded, or a disk there not answering?"


class Channel(Protocol):
    """A running command with three streams; paramiko's channel of SSH is one.

    Attributes:
        status_event: set once the command has ended.
        exit_status: its exit code; negative if it is unknown, as while it runs.
        eof_received: its output has ended.
    """

    status_event: threading.Event
    exit_status: int
    eof_received: bool

    def settimeout(self, timeout: float | None) -> None:
        """Set the timeout of `recv` and `send`, after which they raise TimeoutError."""

    def recv(self, nbytes: int) -> bytes:
        """Return output that has arrived; nothing at its end."""

    def recv_stderr(self, nbytes: int) -> bytes:
        """Return error output that has arrived; nothing at its end."""

    def send(self, s: bytes) -> int:
        """Send the beginning of some bytes; return how many. OSError if nobody takes them."""

    def sendall(self, s: bytes) -> None:
        """Send bytes, however long it takes. OSError if nobody takes them."""

    def shutdown_write(self) -> None:
        """Close the command's input."""

    def close(self) -> None:
        """End the command and what waits for it here. Idempotent."""


class Stream:
    """A running command, with its input and its output in lines."""

    def __init__(self, channel: Channel, host: str, shown: str) -> None:
        self.host = host
        self._channel = channel
        self._shown = shown
        self._pending = bytearray()
        self._errors: deque[bytes] = deque(maxlen=_KEPT_CHUNKS)
        # Read even if nobody asks for the errors: unread ones would block the command.
        self._drain = threading.Thread(
            target=_read_all, args=(channel.recv_stderr, self._errors.append), daemon=True
        )
        self._drain.start()

    def write(self, data: bytes) -> None:
        """Send data.

        Raises:
            HostError: the command or the connection has ended, or accepts no data for a minute.
        """
        deadline_s = time.monotonic() + _WRITE_TIMEOUT_S
        left = memoryview(data)
        while left:
            try:
                sent = self._channel.send(bytes(left[:_CHUNK_BYTES]))
            except TimeoutError as error:  # of the channel, set by a reader
                if time.monotonic() >= deadline_s:
                    raise self._failed(f"accepted no input for {_WRITE_TIMEOUT_S:g} s") from error
                continue
            except OSError as error:
                raise self._failed("has ended") from error
            left = left[sent:]

    def read_line(self, timeout_s: float | None = None) -> bytes:
        """Return the next line with its end; b"" after the last one.

        Of a line of `LINE_BYTES` or more, return that many bytes: a host might never end it.

        Args:
            timeout_s: for the whole line.

        Raises:
            HostError: no line ended in time.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        searched = 0
        while (end := self._pending.find(b"\n", searched, LINE_BYTES) + 1) == 0:
            searched = len(self._pending)
            if searched >= LINE_BYTES:
                break
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            # After the deadline, read what has already arrived, but not what goes on trickling in.
            if left_s is not None and left_s < -_OVERDUE_S:
                raise self._failed(f"did not end a line in {timeout_s:g} s")
            self._channel.settimeout(None if left_s is None else max(left_s, 0.001))
            try:
                chunk = self._channel.recv(_CHUNK_BYTES)
            except TimeoutError as error:
                raise self._failed(f"printed nothing for {timeout_s:g} s") from error
            if not chunk:
                break
            self._pending += chunk
        end = end or min(len(self._pending), LINE_BYTES)
        line = bytes(self._pending[:end])
        del self._pending[:end]
        return line

    def __iter__(self) -> Iterator[bytes]:
        """Read lines to the end of the output, however long it takes."""
        return iter(self.read_line, b"")

    def end_input(self) -> None:
        """Close the command's input."""
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def exit_code(self, timeout_s: float) -> int | None:
        """Wait for the command to end; None if it has not, or if its exit code is unknown."""
        self._channel.status_event.wait(timeout_s)
        code = self._channel.exit_status
        return code if code >= 0 else None

    @property
    def errors(self) -> str:
        """The end of what the command wrote to standard error.

        Once the command has ended, this waits a moment for its last lines: a server may send the
        exit status before them. Something that the command left running may hold the stream open.
        """
        if self._channel.status_event.is_set() or self._channel.eof_received:
            self._drain.join(_LAST_WORDS_TIMEOUT_S)
        return b"".join(self._errors).decode(errors="replace").strip()

    def close(self) -> None:
        """End the conversation, which closes the command's input. Idempotent."""
        with suppress(OSError, EOFError):
            self._channel.close()

    def leave(self) -> None:
        """Let the command run on without this process, as one over SSH does when it is closed."""
        self.close()

    def _failed(self, what: str) -> HostError:
        last = [one_line(line) for line in self.errors.splitlines()[-1:]]
        problem = f"`{self._shown}` {what}{': ' + last[0] if last else ''}"
        return HostError(problem, where=self.host)


def complete(
    channel: Channel, host: str, shown: str, *, stdin: bytes, timeout_s: float
) -> Completed:
    """Run a command that has been started to its end; see `Connection.run`."""
    deadline_s = time.monotonic() + timeout_s
    stdout = _Bounded(channel)
    stderr: deque[bytes] = deque(maxlen=_KEPT_CHUNKS)
    # All three streams at once: a command that waits for one of them while we wait for another
    # would never end.
    threads = [
        threading.Thread(target=_read_all, args=(channel.recv, stdout.add), daemon=True),
        threading.Thread(target=_read_all, args=(channel.recv_stderr, stderr.append), daemon=True),
        threading.Thread(target=_write_all, args=(channel, stdin), daemon=True),
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads[:2]:
            thread.join(max(deadline_s - time.monotonic(), 0.0))
        if stdout.is_too_long:
            problem = f"`{shown}` printed more than {ANSWER_BYTES:,} bytes"
            raise HostError(problem, where=host)
        channel.status_event.wait(max(deadline_s - time.monotonic(), 0.0))
        if not channel.status_event.is_set() or any(thread.is_alive() for thread in threads[:2]):
            problem = f"`{shown}` did not end within {timeout_s:g} s"
            raise HostError(problem, where=host, remedy=_CHECK_LOAD)
    finally:
        channel.close()  # which ends the threads
    return Completed(channel.exit_status, b"".join(stdout.chunks), b"".join(stderr))


class _Bounded:
    """The output of a command, up to a bound; beyond it, the command is ended.

    Attributes:
        chunks: the output, as it arrived.
        is_too_long: whether the bound was exceeded.
    """

    def __init__(self, channel: Channel) -> None:
        self.chunks: list[bytes] = []
        self.is_too_long = False
        self._channel = channel
        self._left = ANSWER_BYTES

    def add(self, chunk: bytes) -> None:
        """Keep a chunk."""
        self._left -= len(chunk)
        if self._left >= 0:
            self.chunks.append(chunk)
        else:
            self.is_too_long = True
            self._channel.close()  # which ends the reading, too


def _read_all(receive: Callable[[int], bytes], keep: Callable[[bytes], None]) -> None:
    while True:
        try:
            chunk = receive(_CHUNK_BYTES)
        except TimeoutError:  # of the channel, set by `Stream.read_line`
            continue
        if not chunk:
            return
        keep(chunk)


def _write_all(channel: Channel, data: bytes) -> None:
    with suppress(OSError, EOFError):  # a command need not read its input
        if data:
            channel.sendall(data)
        channel.shutdown_write()
