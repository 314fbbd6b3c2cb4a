"""Ranges of hosts: Ansible's ``node[01:12]``, ``rack[a:c]-[1:9:2]``; Slurm's ``node[01-04,07]``."""

from __future__ import annotations

import ipaddress
import re
from itertools import product
from math import prod
from string import ascii_letters
from typing import TYPE_CHECKING, Final

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST: Final = 10_000
"""Most hosts of one pattern: more are a typing error."""

_BRACKETS: Final = re.compile(r"\[([^\[\]]*)\]")
_COMMAS: Final = re.compile(r",(?![^\[]*\])")
"""Commas outside brackets."""
_DASH: Final = re.compile(r"^(\w+)-(\w+)$", re.ASCII)
_NUMBERS: Final = re.compile(r"([0-9]{0,9}):([0-9]{1,9})(?::([0-9]{1,9}))?")
_LETTERS: Final = re.compile(r"([A-Za-z]):([A-Za-z])(?::([0-9]{1,9}))?")
_IPV6: Final = re.compile(r"\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\]")


def expand(pattern: str, where: str) -> list[str]:
    """Return the names that a pattern stands for; both ends of a range are included.

    Raises:
        ConfigError: a range that is none, or too many names.
    """
    if _IPV6.fullmatch(pattern) and not _NUMBERS.fullmatch(pattern[1:-1]):
        return [pattern[1:-1]]
    return _expanded(pattern, where, _values)


def expand_list(text: str, where: str) -> list[str]:
    """Return the hosts of a comma-separated list, whose ranges may be Slurm's or Ansible's.

    Raises:
        ConfigError: a range that is none, or too many names.
    """
    found: list[str] = []
    for item in _COMMAS.split(text):
        pattern = item.strip()
        is_one = any(map(_is_address, _BRACKETS.findall(pattern)))
        found += [pattern] if is_one else _expanded(pattern, where, _slurm_values)
        _check_count(len(found), where)
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _expanded(
    pattern: str, where: str, values_of: Callable[[str, str], Sequence[str]]
) -> list[str]:
    literals, inner = _BRACKETS.split(pattern)[::2], _BRACKETS.findall(pattern)
    choices = [values_of(text, where) for text in inner]
    _check_count(prod(map(len, choices)), where)
    return [
        "".join(part for pair in zip(literals, [*values, ""], strict=True) for part in pair)
        for values in product(*choices)
    ]


def _check_count(count: int, where: str) -> None:
    if count > MOST:
        raise ConfigError(f"expected at most {MOST} hosts per line, got {count}", where=where)


def _slurm_values(text: str, where: str) -> list[str]:
    found: list[str] = []
    for part in text.split(","):
        found += [part] if part.isalnum() else _values(_DASH.sub(r"\1:\2", part), where)
        _check_count(len(found), where)
    return found


def _values(text: str, where: str) -> Sequence[str]:
    if match := _LETTERS.fullmatch(text):
        first, last = ascii_letters.index(match[1]), ascii_letters.index(match[2])
        places = _steps(first, last, match[3], text, where)
        return [ascii_letters[place] for place in places]
    if match := _NUMBERS.fullmatch(text):
        start = match[1] or "0"
        width = len(start) if start.startswith("0") and len(start) > 1 else 0
        if width and len(match[2]) != width:
            raise ConfigError(
                f"[{text}]: expected the same number of digits at both ends", where=where
            )
        numbers = _steps(int(start), int(match[2]), match[3], text, where)
        return [f"{number:0{width}d}" for number in numbers]
    if re.search("[0-9]{10}", text):
        raise ConfigError(f"[{text}]: expected numbers of at most 9 digits", where=where)
    raise ConfigError(f"expected a range such as [01:12] or [a:f], got [{text}]", where=where)


def _steps(first: int, last: int, step: str | None, text: str, where: str) -> range:
    if last < first or (step and not int(step)):
        problem = f"[{text}]: expected a start not above the end, and a step above 0"
        raise ConfigError(problem, where=where)
    steps = range(first, last + 1, int(step or 1))
    if len(steps) > MOST:
        raise ConfigError(f"[{text}]: expected at most {MOST} hosts", where=where)
    return steps
