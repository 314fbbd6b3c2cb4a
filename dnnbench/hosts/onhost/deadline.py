"""A deadline for whole commands, wherever they hang."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

from .wire import HostProblem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@contextlib.contextmanager
def deadline(seconds: int, what: str) -> Iterator[None]:
    """Limit the time spent in this context; only in the main thread, and not nested.

    Args:
        seconds: 0 for no limit.
        what: its name in the error.

    Raises:
        HostProblem: the time is over.
    """

    def expire(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise HostProblem(
            f"{what} did not end within {seconds} s", "is a disk there not answering?"
        )

    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
