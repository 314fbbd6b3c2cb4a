"""Start times from ``/proc``, which identify a process even if its id is reused."""

from __future__ import annotations

_STATE, _STARTED = 0, 19  # positions after the name; fields 3 and 22 of proc(5), /proc/<pid>/stat


def started(pid: int) -> int | None:
    """Return when a living process started, in clock ticks after boot; None for a dead one.

    A zombie counts as dead: it has no memory, ports or files.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name may contain blanks and brackets
    return None if fields[_STATE] in (b"Z", b"X") else int(fields[_STARTED])


def is_alive(pid: int, started_ticks: int) -> bool:
    """Return whether the process recorded with this start time is still alive."""
    return started(pid) == started_ticks
