"""Signals turned into a readable file descriptor, for a process that waits in ``poll``."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Signals:
    """SIGTERM and SIGCHLD make ``reading`` readable; SIGHUP and SIGINT are ignored."""

    def __init__(self, terminate: Callable[[], None]) -> None:
        self.reading, waking = os.pipe()
        for fd in (self.reading, waking):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(waking)
        signal.signal(signal.SIGTERM, lambda *_: terminate())
        signal.signal(signal.SIGCHLD, lambda *_: None)  # an ignored signal would not wake poll
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def drain(self) -> None:
        """Read everything, so that ``reading`` is no longer readable."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.reading, 4096)
