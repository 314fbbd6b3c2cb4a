"""Hosts from a host file of Open MPI (``mpirun --hostfile``).

A line is ``host`` or ``user@host``, then ``key=value`` pairs; ``#`` and ``//`` begin a comment.
A host that is listed again without ``slots`` gets another slot, as in a PBS node file.
Differences from Open MPI: a host without ``slots`` has one slot, not one per core, because a node
is a host; hosts are named one by one, so ``^`` and ``+n`` are refused.
Source of the format: orte_hosts(7) and the lexer behind it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.hostlists.entries import Entry, read_address, read_value
from dnnbench.settings.textfile import read_text

if TYPE_CHECKING:
    from pathlib import Path

_COMMENT: Final = re.compile(r"(#|//).*")
_MOST: Final = "the most slots"
_FIELDS: Final[dict[str, str]] = {
    **dict.fromkeys(("slots", "cpu", "count"), "slots"),
    **{
        name: _MOST
        for unit in ("slots", "cpu", "count")
        for name in (f"max-{unit}", f"max_{unit}", f"{unit}-max", f"{unit}_max")
    },
    **dict.fromkeys(("username", "user-name", "user_name"), "user"),
    "port": "port",
}
"""Open MPI's names -> ours."""


def read_hostfile(path: Path) -> list[Entry]:
    """Read the hosts, in their order.

    Raises:
        ConfigError: the file cannot be read, or a line of it is invalid or not supported.
    """
    entries: dict[Any, Entry] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        # Open MPI allows blanks around the sign.
        words = re.sub(r"\s*=\s*", "=", _COMMENT.sub("", line)).split()
        if words:
            entry = _entry(words, f"{path}:{number}")
            # What is no plain repetition stays an entry of its own, and is refused with the others.
            key = entry.where if "slots" in entry.settings else tuple(entry.settings.items())
            first = entries.setdefault(key, entry)
            if first is not entry:
                slots = first.settings.get("slots", 1) + 1
                entries[key] = Entry(first.where, first.settings | {"slots": slots})
    return list(entries.values())


def _entry(words: list[str], where: str) -> Entry:
    if words[0][0] in "^+":
        raise ConfigError("expected the name of a host; ^ and + are not supported", where=where)
    if "=" in words[0]:
        raise ConfigError(f"expected a host before {words[0]!r}", where=where)
    settings = read_address(words[0], where)
    for word in words[1:]:
        key, sign, value = word.partition("=")
        if not sign:
            raise ConfigError(f"expected `host slots=N max-slots=N`, got {word!r}", where=where)
        if key not in _FIELDS:
            raise ConfigError(f"{key} is not known", where=where, remedy=nearest(key, _FIELDS))
        field = _FIELDS[key]
        if field in settings:
            raise ConfigError(f"{key} gives the {field} of a host a second time", where=where)
        settings[field] = read_value("slots" if field == _MOST else field, value, where, key)
    _settle_slots(settings, where)
    return Entry(where, settings)


def _settle_slots(settings: dict[str, Any], where: str) -> None:
    """Use max-slots as slots if slots are not given, as Open MPI does."""
    most = settings.pop(_MOST, None)
    if most is not None and most < settings.setdefault("slots", most):
        problem = f"slots={settings['slots']} is above max-slots={most}"
        raise ConfigError(problem, where=where)
