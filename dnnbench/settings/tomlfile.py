"""Read a TOML file and remember the line of each of its keys."""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.errors import ConfigError
from dnnbench.settings.textfile import read_text

if TYPE_CHECKING:
    from pathlib import Path

_NAME = r"""[\w\-."' \t]+?"""
_HEADER = rf"\s*(?P<array>\[?)\[\s*(?P<name>{_NAME})\s*\]\]?\s*(?:#.*)?$"
_KEY = rf"\s*(?P<name>{_NAME})\s*="
_AT_LINE = r" \(at line (\d+), column \d+\)"
_AT_END = " (at end of document)"


class TomlFile:
    """A parsed file."""

    def __init__(self, path: Path, data: dict[str, Any], text: str) -> None:
        self.path = path
        self.data = data
        self._text = text

    @cached_property
    def lines(self) -> dict[str, int]:
        """Dotted key -> line; entries of an array of tables are numbered: ``hosts.0.name``."""
        return key_lines(self._text)

    def where(self, key: str) -> str:
        """Return where a dotted key is, ``dnnbench.toml:12``; failing that, where its table is."""
        while key:
            if key in self.lines:
                return f"{self.path}:{self.lines[key]}"
            key = key.rpartition(".")[0]
        return str(self.path)


def read_toml(path: Path) -> TomlFile:
    """Parse a file.

    Raises:
        ConfigError: it is missing, cannot be read, or is not TOML (with the line).
    """
    text = read_text(path, remedy="`dnnbench init` writes one")
    try:
        data = msgspec.toml.decode(text)
    except RecursionError:
        raise ConfigError("is nested too deeply", where=str(path)) from None
    except ValueError as error:  # msgspec's, or Python's for an integer with too many digits
        raise _syntax_error(path, text, str(error)) from None
    return TomlFile(path, data, text)


def key_lines(text: str) -> dict[str, int]:
    """Find the line of every table and key.

    This scans lines and does not parse: a line inside a multi-line string may be taken for a key.
    The only effect is a wrong line number in a message about the same key.
    """
    lines: dict[str, int] = {}
    entries: Counter[str] = Counter()
    prefix = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if header := re.match(_HEADER, line):
            table = _plain(header["name"])
            lines.setdefault(table, number)
            if header["array"]:
                entries[table] += 1
                table = f"{table}.{entries[table] - 1}"
                lines.setdefault(table, number)
            prefix = f"{table}."
        elif key := re.match(_KEY, line):
            lines.setdefault(prefix + _plain(key["name"]), number)
    return lines


def _plain(name: str) -> str:
    return re.sub(r"""["'\s]""", "", name)


def _syntax_error(path: Path, text: str, message: str) -> ConfigError:
    line = int(at[1]) if (at := re.search(_AT_LINE, message)) else len(text.rstrip().split("\n"))
    problem = re.sub(_AT_LINE, "", message).replace(_AT_END, "")
    return ConfigError(f"is not TOML: {problem}", where=f"{path}:{line}")
