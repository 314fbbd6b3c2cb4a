"""Evaluate the conditions of Host and Match lines.

A Match criterion that dnnbench cannot evaluate is neither true nor false: unless another criterion
rules the block out, its settings are refused.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dnnbench.hosts.ssh.config.lines import Line

_WITHOUT_ARGUMENT: Final = ("all", "canonical", "final")
_UNKNOWABLE: Final = ("command", "localnetwork", "sessiontype", "version")
_EXEC_TIMEOUT_S: Final = 60.0


class Situation(NamedTuple):
    """The values that Match lines may test, as set by the lines before them.

    Attributes:
        host: the name after HostName.
        original: the name as the user would give it to ssh.
        tag: value of the keyword Tag.
        is_final: whether the files are being read for the second time.
        expand: replaces the tokens of a command.
    """

    host: str
    original: str
    user: str
    local_user: str
    tag: str
    is_final: bool
    expand: Callable[[str, Line], str]


class Verdict(NamedTuple):
    """The result of a Match line.

    Attributes:
        holds: whether every criterion that can be evaluated holds.
        doubt: the first criterion that cannot be evaluated, if it matters.
        wants_final: whether the files must be read a second time.
    """

    holds: bool
    doubt: str | None
    wants_final: bool


def matches(patterns: Iterable[str], text: str) -> bool:
    """Return whether a text matches any of the patterns and none of those that begin with ``!``."""
    found = False
    for pattern in patterns:
        if _pattern(pattern.removeprefix("!")).fullmatch(text):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def evaluate(line: Line, situation: Situation) -> Verdict:
    """Evaluate a Match line.

    Raises:
        ConfigError: it is invalid.
    """
    holds, wants_final = True, False
    doubt = None
    words = list(line.arguments)
    while words:
        word, sign, argument = words.pop(0).partition("=")  # also written as host=name
        criterion = word.removeprefix("!").lower()
        if criterion == "all":
            if words:
                raise line.bad("expected nothing after the criterion all")
            value: bool | None = True
        elif criterion in _WITHOUT_ARGUMENT:
            wants_final = wants_final or criterion == "final"
            value = situation.is_final
        else:
            if not sign and not words:
                raise line.bad(f"expected a value after the criterion {criterion}")
            argument = argument if sign else words.pop(0)
            value = _value(criterion, argument, line, situation, is_moot=not holds)
        if value is None:
            doubt = doubt or criterion
        elif value == word.startswith("!"):
            holds = False
    return Verdict(holds, doubt if holds else None, wants_final)


def _value(
    criterion: str, argument: str, line: Line, situation: Situation, *, is_moot: bool
) -> bool | None:
    """Evaluate one criterion; None if that is not possible."""
    if criterion in _UNKNOWABLE:
        return None
    if criterion == "exec":
        return False if is_moot else _succeeds(situation.expand(argument, line), line)
    subjects = {
        "host": situation.host.lower(),
        "originalhost": situation.original.lower(),
        "user": situation.user,
        "localuser": situation.local_user,
        "tagged": situation.tag,
    }
    if criterion not in subjects:
        raise line.bad(f"the criterion {criterion} is not known")
    patterns = argument.lower() if criterion.endswith("host") else argument
    return matches(patterns.split(","), subjects[criterion])


def _succeeds(command: str, line: Line) -> bool:
    """Return whether a command succeeds, run as in OpenSSH: in the user's shell, without input."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        done = subprocess.run(
            [shell, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=_EXEC_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise line.bad(f"the command did not end within {_EXEC_TIMEOUT_S:g} s") from None
    except OSError as error:
        problem = f"the command cannot be run: {error.strerror}"
        raise ConfigError(problem, where=line.where, remedy="check SHELL") from error
    return done.returncode == 0


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern with ``*`` and ``?``; unlike in a shell, brackets are literal."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(c) or re.escape(c) for c in text), re.DOTALL)
