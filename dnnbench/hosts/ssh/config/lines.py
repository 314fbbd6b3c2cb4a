"""Read a configuration file into its lines, split as OpenSSH splits them."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYWORD: Final = re.compile(
    r'[ \t]*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s="#][^\s="]*))[ \t]*=?[ \t]*(?P<rest>.*)'
)
_SHOWN_CHARACTERS: Final = 60
_MOST_BYTES: Final = 1 << 20


class Line(NamedTuple):
    """A keyword with its arguments.

    Attributes:
        keyword: in lower case.
        arguments: without their quotes and without a comment after them.
        rest: everything after the keyword, with quotes and comments.
        text: the line as written, shortened if it is long.
    """

    path: str
    number: int
    keyword: str
    arguments: tuple[str, ...]
    rest: str
    text: str

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path}:{self.number}"

    @property
    def argument(self) -> str:
        """The only argument; for a command, everything after the keyword.

        Raises:
            ConfigError: there are several.
        """
        if self.keyword == "proxycommand":
            return self.rest
        if len(self.arguments) != 1:
            raise self.bad("expected one value")
        return self.arguments[0]

    def bad(self, problem: str) -> ConfigError:
        """Return an error about this line."""
        return ConfigError(f"{problem}, got `{self.text}`", where=self.where)


def read_lines(path: Path, *, must_be_private: bool) -> Iterator[Line]:
    """Read a file, without comments and empty lines.

    Args:
        path: the file.
        must_be_private: refuse a file that others may write to, as OpenSSH does.

    Raises:
        ConfigError: it cannot be read, or a line cannot be split.
    """
    for number, text in enumerate(_text(path, must_be_private).split("\n"), start=1):
        stripped = text.strip(" \t\r\f")
        if not stripped or stripped.startswith("#"):
            continue
        shown = stripped[:_SHOWN_CHARACTERS] + "…" * (len(stripped) > _SHOWN_CHARACTERS)
        line = Line(str(path), number, "", (), "", shown)
        parts = _KEYWORD.fullmatch(stripped)
        if parts is None:
            raise line.bad("expected a keyword and a value")
        rest = parts["rest"]
        try:
            arguments = split(rest)
        except ValueError:
            raise line.bad("a quote is not closed") from None
        if not arguments:
            raise line.bad("expected a value after the keyword")
        keyword = (parts["quoted"] or parts["plain"]).lower()
        yield line._replace(keyword=keyword, arguments=tuple(arguments), rest=rest)


def split(text: str) -> list[str]:
    """Split into words: quotes group, a backslash escapes a quote or a blank, # ends the line.

    As OpenSSH's ``argv_split``; Python's shlex would also drop other backslashes.

    Raises:
        ValueError: a quote is not closed.
    """
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    characters = iter(enumerate(text))
    for at, character in characters:
        following = text[at + 1 : at + 2]
        is_blank = character in " \t" and not quote
        if word is None:
            if is_blank:
                continue
            if character == "#":
                break
            word = []
        if is_blank:
            words.append("".join(word))
            word = None
        elif character == "\\" and following and following in ("'\"\\" if quote else "'\"\\ "):
            next(characters)
            word.append(following)
        elif character == quote:
            quote = ""
        elif character in "'\"" and not quote:
            quote = character
        else:
            word.append(character)
    if quote:
        raise ValueError(text)
    return words if word is None else [*words, "".join(word)]


def _text(path: Path, must_be_private: bool) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if must_be_private and not _is_private(status):
                raise ConfigError(
                    "belongs to somebody else, or others may write to it",
                    where=str(path),
                    remedy="chmod go-w, once you have checked what it contains",
                )
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(content) > _MOST_BYTES:
        raise ConfigError("is larger than 1 MiB", where=str(path))
    return content.decode(errors="surrogateescape")


def _is_private(status: os.stat_result) -> bool:
    """Return whether only root, we and our own group can have written a file."""
    others = stat.S_IWOTH | (0 if status.st_gid == os.getgid() else stat.S_IWGRP)
    return status.st_uid in (0, os.getuid()) and not status.st_mode & others
