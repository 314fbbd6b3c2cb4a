"""Commands on a host as processes of this machine: a shell, or a program that leads there."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAREWELL_S: Final = 1.0
"""Time for a process to end by itself once its input has ended, and again after SIGTERM."""


class ProcessChannel:
    """A process as a `dnnbench.hosts.connectors.commands.Channel`.

    It has a session of its own, so that Ctrl-C reaches only dnnbench.
    """

    def __init__(self, words: Sequence[str]) -> None:
        """Start it.

        Raises:
            OSError: the program is missing, or may not be run.
        """
        its_in, our_in = os.pipe()
        our_out, its_out = os.pipe()
        our_err, its_err = os.pipe()
        try:
            self._process = subprocess.Popen(
                list(words), stdin=its_in, stdout=its_out, stderr=its_err, start_new_session=True
            )
        except BaseException:
            for fd in (our_in, our_out, our_err):
                os.close(fd)
            raise
        finally:
            for fd in (its_in, its_out, its_err):
                os.close(fd)
        self._in, self._out, self._err = map(_End, (our_in, our_out, our_err))
        self._timeout_s: float | None = None
        self.status_event = threading.Event()
        self.exit_status = -1
        self.eof_received = False
        self._is_left = False
        threading.Thread(target=self._await_end, daemon=True).start()

    def settimeout(self, timeout: float | None) -> None:
        """See `Channel`."""
        self._timeout_s = timeout

    def recv(self, nbytes: int) -> bytes:
        """See `Channel`."""
        chunk = self._out.read(nbytes, self._timeout_s)
        self.eof_received = not chunk
        return chunk

    def recv_stderr(self, nbytes: int) -> bytes:
        """See `Channel`."""
        return self._err.read(nbytes, None)

    def send(self, s: bytes) -> int:
        """See `Channel`."""
        return self._in.write(s, self._timeout_s)

    def sendall(self, s: bytes) -> None:
        """See `Channel`."""
        left = memoryview(s)
        while left:
            left = left[self._in.write(left, None) :]

    def shutdown_write(self) -> None:
        """See `Channel`."""
        self._in.close()

    def close(self) -> None:
        """End the process: by the end of its input, by SIGTERM, and at last by SIGKILL."""
        self._in.close()
        if not self._is_left:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if self.status_event.wait(_FAREWELL_S):
                    break
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
            self.status_event.wait(_FAREWELL_S)
        self._out.close()
        self._err.close()

    def leave(self) -> None:
        """Let the process run on; it gets the end of its input."""
        self._is_left = True
        self.close()

    def _await_end(self) -> None:
        self.exit_status = self._process.wait()
        self.status_event.set()


class _End:
    """Our end of one of a process's pipes; closing it wakes a thread that waits for it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(self._fd, False)
        self._woken, self._wake = os.pipe()
        self._is_closed = False
        self._closing = threading.Lock()
        self._using = threading.Lock()

    def read(self, nbytes: int, timeout_s: float | None) -> bytes:
        """Return what has arrived; nothing at the end, or once it is closed."""
        with self._using:
            if not self._await(select.POLLIN, timeout_s):
                return b""
            return os.read(self._fd, nbytes)

    def write(self, data: bytes | memoryview, timeout_s: float | None) -> int:
        """Write the beginning of some bytes."""
        with self._using:
            if not self._await(select.POLLOUT, timeout_s):
                raise BrokenPipeError
            return os.write(self._fd, data)

    def close(self) -> None:
        """Close it, after waking its user. Idempotent."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            os.close(self._wake)
            with self._using:
                os.close(self._fd)
                os.close(self._woken)

    def _await(self, what: int, timeout_s: float | None) -> bool:
        """Wait until it is ready; return whether it is still open.

        Raises:
            TimeoutError: it is not ready in time.
        """
        if self._is_closed:
            return False
        poll = select.poll()
        poll.register(self._fd, what)
        poll.register(self._woken, 0)
        found = poll.poll(None if timeout_s is None else timeout_s * 1000)
        if not found:
            raise TimeoutError
        return not self._is_closed
