"""The setting ``connect`` of a host: the kind of connection, or the template of a command."""

from __future__ import annotations

import re
import shlex
from typing import Final

from dnnbench.errors import ConfigError, nearest

SSH, LOCAL, COMMAND = "ssh", "local", "command"
NAME, SHELL_COMMAND = "{name}", "{command}"
NAMED: Final = (SSH, LOCAL)
"""Kinds that are chosen by their name; a template chooses `COMMAND`."""
EXAMPLE: Final = "podman exec -i {name} {command}"
_PLACEHOLDER: Final = re.compile(r"\{\w*\}")
_SHELL_OPTION: Final = re.compile(r"-[a-z]*c")


def kind_of(connect: str) -> str:
    """Return the kind of connection that a checked value chooses."""
    return connect if connect in NAMED else COMMAND


def check_connect(connect: str, where: str, subject: str = "") -> str:
    """Check a value, and return it.

    Args:
        connect: the value, a text.
        where: its place, for errors.
        subject: begins messages if ``where`` does not name the setting, ``[[hosts]] connect: ``.

    Raises:
        ConfigError: it is neither the name of a kind nor a template that can be used.
    """
    if connect in NAMED:
        return connect
    remedy = f"write it like {EXAMPLE!r}"
    try:
        words = shlex.split(connect)
    except ValueError as error:
        problem = f"{subject}the template cannot be split into words: {str(error).lower()}"
        raise ConfigError(problem, where=where, remedy=remedy) from None
    if "{" not in connect:
        problem = f"{subject}expected {', '.join(NAMED)} or a template, got {connect!r}"
        raise ConfigError(problem, where=where, remedy=nearest(connect, NAMED) or remedy)
    for found in _PLACEHOLDER.findall(connect):
        if found not in (NAME, SHELL_COMMAND):
            problem = f"{subject}expected {NAME} and {SHELL_COMMAND} only, found {found}"
            raise ConfigError(problem, where=where, remedy=remedy)
    if not any(NAME in word for word in words):
        raise ConfigError(
            f"{subject}expected {NAME} in the template, found none", where=where, remedy=remedy
        )
    if words.count(SHELL_COMMAND) != 1 or connect.count(SHELL_COMMAND) != 1:
        problem = f"{subject}expected {SHELL_COMMAND} once, as a word of its own"
        raise ConfigError(problem, where=where, remedy=remedy)
    if "{" in words[0]:
        raise ConfigError(
            f"{subject}expected a program first, found {words[0]}", where=where, remedy=remedy
        )
    return connect


def words_of(template: str, name: str, command: str) -> list[str]:
    """Return a template's program and arguments; no shell of this machine reads them.

    Args:
        template: checked by `check_connect`.
        name: replaces ``{name}``, anywhere in a word.
        command: a POSIX shell's; with ``sh -c`` before it, it replaces ``{command}``. After an
            option -c the template names a shell itself, and the command is one argument.
    """
    words: list[str] = []
    for word in shlex.split(template):
        if word != SHELL_COMMAND:
            words.append(word.replace(NAME, name))
        elif words and _SHELL_OPTION.fullmatch(words[-1]):
            words.append(command)
        else:
            words += ["sh", "-c", command]
    return words
