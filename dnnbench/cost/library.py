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
    OwnMachine,
    PersistentDisk,
    PriceBook,
    SustainedUse,
)
from dnnbench.cost.catalog import SUFFIX, read_catalog
from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.textfile import local_path
from dnnbench.settings.tomlfile import read_toml

if TYPE_CHECKING:
    from dnnbench.settings.tomlfile import TomlFile

TABLE_1_BOOK = "gcp-2017-08"
SHIPPED = Path(__file__).parent / "books"

_NAMED: dict[str, type[msgspec.Struct]] = {"machine": Machine, "gpu": Gpu, "own": OwnMachine}
"""Tables whose keys are names; msgspec's errors have ``...`` in place of such a key."""
_PARTS: tuple[type[msgspec.Struct], ...] = (
    PriceBook,
    CustomMachine,
    LocalSsd,
    PersistentDisk,
    SustainedUse,
    BillingRule,
    *_NAMED.values(),
)
_KEYS = sorted({key for part in _PARTS for key in part.__struct_fields__})

_WORDS = {
    "Expected": "expected",
    "Invalid decimal string": "expected a number",
    "Invalid RFC3339 encoded": "expected a",
    "decimal": "a number",
    "object": "a table",
    "int | float": "a number",
    "expected int": "expected a number",
    "expected float": "expected a number",
    " | null": "",
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
    """Map the name of every price book to its file; the user's own replace shipped ones.

    A catalog keeps the suffix of its file in its name.
    """
    books = {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
    for path in sorted(user_books().glob("*")):
        if path.suffix in (".toml", SUFFIX):
            books[path.name.removesuffix(".toml")] = path
    return books


def load_book(name: str, region: str | None = None) -> PriceBook:
    """Read a price book by its name, or from a file if ``name`` is the path of one.

    Args:
        name: of a book; or a path, which has a slash or a suffix.
        region: of the prices; by default those that the book has.

    Raises:
        ConfigError: there is no such book, or it cannot be used (see `read_book`).
    """
    books = list_books()
    path = books.get(name) or local_path(name, "price book")
    is_path = "/" in name or path.suffix in (".toml", SUFFIX)
    if name not in books and not is_path and not (path.suffix and path.exists()):
        near = nearest(name, books)
        choose = f"choose one of {', '.join(books)}, or give a .toml or .csv file"
        raise ConfigError(
            "there is none of this name",
            where=f"price book {name}",
            remedy=f"{near} C{choose[1:]}" if near else choose,
        )
    book = read_book(path, region)
    if region is not None and region not in book.regions:
        raise ConfigError(
            f"has no region {region!r}",
            where=f"price book {book.name}",
            remedy=f"it has {', '.join(book.regions)}",
        )
    return book


def load_table_1_book() -> PriceBook:
    """Read the shipped book that Table 1 was priced from, even if the user has one of its name."""
    return read_book(SHIPPED / f"{TABLE_1_BOOK}.toml")


def read_book(path: Path, region: str | None = None) -> PriceBook:
    """Read a price book from a file: a catalog if its name ends in ``.csv``, else TOML.

    Raises:
        ConfigError: the file cannot be read, is not TOML, has an unknown key, lacks one, or has an
            amount that is not a number above zero. See `read_catalog` for a catalog.
    """
    if not os.path.lexists(path):
        raise ConfigError("there is no such price book", where=str(path))
    if path.suffix == SUFFIX:
        return read_catalog(path, region)
    toml = read_toml(path)
    try:
        return msgspec.convert({"name": path.stem} | toml.data, PriceBook)
    except msgspec.ValidationError as error:
        raise _refusal(toml, error) from None
    except RecursionError:
        raise ConfigError("is nested too deeply", where=str(path)) from None


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
