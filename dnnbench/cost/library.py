"""Find, read and list price books: those of the package, the user's own, or any file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.cost.book import (
    BillingRule,
    CustomMachine,
    Gpu,
    LocalSsd,
    Machine,
    PersistentDisk,
    PriceBook,
    SustainedUse,
)
from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.tomlfile import read_toml

if TYPE_CHECKING:
    from dnnbench.settings.tomlfile import TomlFile

TABLE_1_BOOK = "gcp-2017-08"
SHIPPED = Path(__file__).parent / "books"

_NAMED: dict[str, type[msgspec.Struct]] = {"machine": Machine, "gpu": Gpu}
"""Tables whose keys are names; msgspec's errors have ``...`` in place of such a key."""
_PARTS = (PriceBook, Machine, Gpu, CustomMachine, LocalSsd, PersistentDisk, SustainedUse)
_KEYS = sorted({key for part in (*_PARTS, BillingRule) for key in part.__struct_fields__})

_WORDS = {
    "Expected": "expected",
    "Invalid decimal string": "expected a number",
    "Invalid RFC3339 encoded": "expected a",
    "decimal": "a number",
    "object": "a table",
}
"""msgspec's words -> words that the author of a TOML file knows."""


def user_books() -> Path:
    """Return the directory of the user's own price books, by the XDG specification.

    Without platformdirs, whose import took a tenth of the time of ``dnnbench cost``.
    """
    home = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not home.is_absolute():  # unset, or to be ignored as the specification demands
        home = Path("~/.config").expanduser()
    return home / "dnnbench" / "books"


def list_books() -> dict[str, Path]:
    """Map the name of every price book to its file; the user's own replace shipped ones."""
    return {
        path.stem: path
        for directory in (SHIPPED, user_books())
        for path in sorted(directory.glob("*.toml"))
    }


def load_book(name: str) -> PriceBook:
    """Read a price book by its name, or from a file if ``name`` is the path of one.

    Raises:
        ConfigError: there is no such book, or it cannot be used (see `read_book`).
    """
    books = list_books()
    if name.endswith(".toml") or "/" in name:
        path = Path(name).expanduser()
    elif name in books:
        path = books[name]
    else:
        import difflib  # only this error needs it

        near = difflib.get_close_matches(name, books, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"no price book {name!r}",
            remedy=f"did you mean {near}? Choose one of {', '.join(books)}, or give a .toml file",
        )
    return read_book(path)


def load_table_1_book() -> PriceBook:
    """Read the shipped book that Table 1 was priced from, even if the user has one of its name."""
    return read_book(SHIPPED / f"{TABLE_1_BOOK}.toml")


def read_book(path: Path) -> PriceBook:
    """Read a price book from a file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, has an unknown key, lacks one, or has an
            amount that is not a number above zero.
    """
    if not path.is_file():
        raise ConfigError("there is no such price book", where=str(path))
    toml = read_toml(path)
    try:
        return msgspec.convert({"name": path.stem} | toml.data, PriceBook)
    except msgspec.ValidationError as error:
        raise _refusal(toml, error) from None


def _refusal(toml: TomlFile, error: msgspec.ValidationError) -> ConfigError:
    """Return an error with file, line and key, and with what was expected and found."""
    message, _, place = str(error).partition(" - at `$")
    keys = re.findall(r"[^.\[\]`]+|\.\.\.", place)
    if keys[1:2] == ["..."]:
        name, error = _named_entry(toml.data[keys[0]], _NAMED[keys[0]])
        message, _, place = str(error).partition(" - at `$")
        keys = [keys[0], name, *re.findall(r"[^.\[\]`]+", place)]
    remedy = None
    if match := re.fullmatch(r"Object missing required field `(.*)`", message):
        keys.append(match[1])
        problem = "expected this key, found none"
    elif match := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        keys.append(match[1])
        problem = "unknown key"
        remedy = nearest(match[1], _KEYS)
    elif match := re.fullmatch(r"`(\w+)` (expected .*)", message):  # from our own structs
        keys.append(match[1])
        problem = match[2]
    else:
        expected = re.sub(r", got .*|`", "", message)
        for theirs, ours in _WORDS.items():
            expected = expected.replace(theirs, ours)
        problem = f"{expected}, found {_value_at(toml.data, keys)!r}"
    key = ".".join(keys)
    return ConfigError(problem, where=f"{toml.where(key)}: {key}", remedy=remedy)


def _named_entry(
    table: dict[str, Any], kind: type[msgspec.Struct]
) -> tuple[str, msgspec.ValidationError]:
    """Return the first entry of a table that is refused, and its error."""
    refused = ((name, _error_of(entry, kind)) for name, entry in table.items())
    return next((name, error) for name, error in refused if error is not None)


def _error_of(entry: object, kind: type[msgspec.Struct]) -> msgspec.ValidationError | None:
    try:
        msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        return error
    return None


def _value_at(data: Any, keys: list[str]) -> object:
    for key in keys:
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data
