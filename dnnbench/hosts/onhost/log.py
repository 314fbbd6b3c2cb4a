"""The keeper's log, which is its standard error, and the last line of any log."""

from __future__ import annotations

import contextlib
import os
import re
import time

_STANDARD_ERROR = 2
_TAIL_BYTES = 1 << 16


def note(text: str) -> None:
    """Write a line with the time to the keeper's log; ignore a full disk."""
    with contextlib.suppress(OSError):
        os.write(_STANDARD_ERROR, f"{time.strftime('%F %T')} {text}\n".encode())


def last_line(path: str, harmless: str = "") -> str:
    """Return the last line that is not blank; empty if there is none.

    Args:
        path: of the log, which may be of any size.
        harmless: regular expression of the beginnings of lines that explain no failure.
    """
    try:
        with open(path, "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            lines = file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ""
    telling = (
        line.strip()
        for line in reversed(lines)
        if line.strip() and not (harmless and re.match(harmless, line))
    )
    return next(telling, "")
