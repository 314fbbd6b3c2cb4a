"""Damage to stored files, of copies of a finished sweep's results or of the user's data.

What is damaged is refused, with the file and in JSON lines the line named, or else changes no
figure. Not tried is what no reader could know: a digit that became another one within bounds.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

TRIALS: Final = "trials.jsonl"
DOCUMENTS: Final = ("config.json", "plan.json")
_WRONG_TYPES: Final[dict[type, tuple[Any, ...]]] = {
    int: ("12", {}, [3]),
    float: ("0.5", {}, [0.5]),
    str: (7, {}, ["x"]),
    bool: ("yes", {}),
    list: ("x", {"x": 1}),
    dict: ("x", [1]),
}
_NEVER_NEGATIVE: Final = (
    "duration_s",
    "steps",
    "examples",
    "training_s",
    "cpu_s",
    "updates_pushed",
)


class Damaged(NamedTuple):
    """What was damaged.

    Attributes:
        path: the file.
        what: in words.
        line: of the file; None where it has no lines, or where another line may be the odd one.
        is_lossless: whether all figures are still there, so that none may be missing.
    """

    path: Path
    what: str
    line: int | None = None
    is_lossless: bool = False


class Kind(NamedTuple):
    """A kind of damage.

    Attributes:
        name: in the table.
        inflict: damages a copy of a directory.
        is_data: whether the directory holds the user's data, not results.
    """

    name: str
    inflict: Callable[[Path, Random], Damaged]
    is_data: bool = False


def _any_file(directory: Path, rng: Random) -> Path:
    names = sorted(path.name for path in directory.iterdir() if path.is_file())
    if TRIALS in names:  # most of the figures are there
        names = [TRIALS] * len(DOCUMENTS) + list(DOCUMENTS)
    return directory / rng.choice(names)


def cut(directory: Path, rng: Random) -> Damaged:
    """Cut a file off, as a crash or a full disk of a copy does."""
    path = _any_file(directory, rng)
    size = path.stat().st_size
    at = rng.randrange(size - 1)
    os.truncate(path, at)
    return Damaged(path, f"cut at byte {at} of {size}")


def zero(directory: Path, rng: Random) -> Damaged:
    """Overwrite a part of a file by zeros, as a lost block of a disk reads."""
    path = _any_file(directory, rng)
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content) - 1)
    end = min(start + rng.choice((16, 512, 4096)), len(content))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return Damaged(path, f"zeros at bytes {start} to {end}")


def flip(directory: Path, rng: Random) -> Damaged:
    """Flip the highest bit of a byte."""
    path = _any_file(directory, rng)
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    content[at] ^= 0x80
    path.write_bytes(content)
    return Damaged(path, f"bit flipped in byte {at}")


def remove_bytes(directory: Path, rng: Random) -> Damaged:
    """Remove a part of one line, with a quote or a bracket in it so that it is missed."""
    path = directory / TRIALS
    lines = path.read_bytes().split(b"\n")
    number = rng.randrange(1, len(lines) - 1)
    line = lines[number]
    start = rng.randrange(1, len(line) - 100)
    end = line.index(b'"', start) + 1
    lines[number] = line[:start] + line[end:]
    path.write_bytes(b"\n".join(lines))
    return Damaged(path, f"bytes {start} to {end} of line {number + 1} removed", number + 1)


def wrong_type(directory: Path, rng: Random) -> Damaged:
    """Give a field of an outcome a value of another type."""

    def change(parent: Any, key: Any) -> object:
        return rng.choice(_WRONG_TYPES[type(parent[key])])

    return _change_field(directory, rng, lambda _key, value: type(value) in _WRONG_TYPES, change)


def out_of_bounds(directory: Path, rng: Random) -> Damaged:
    """Give a field of an outcome a value that nothing can have."""
    return _change_field(
        directory,
        rng,
        lambda key, _value: key in _NEVER_NEGATIVE,
        lambda _parent, _key: rng.choice((-5, -1e-9, -(1 << 40), 1e300)),
    )


def _change_field(
    directory: Path,
    rng: Random,
    is_meant: Callable[[Any, Any], bool],
    change: Callable[[Any, Any], object],
) -> Damaged:
    path = directory / TRIALS
    lines = path.read_text().split("\n")
    number = rng.randrange(1, len(lines) - 1)
    outcome = json.loads(lines[number])
    found = [field for field in _fields(outcome, "") if is_meant(field[1], field[0][field[1]])]
    parent, key, place = rng.choice(found)
    old, parent[key] = parent[key], change(parent, key)
    lines[number] = json.dumps(outcome)
    path.write_text("\n".join(lines))
    what = f"{place} of line {number + 1} {json.dumps(old)[:20]} -> {json.dumps(parent[key])[:20]}"
    return Damaged(path, what, number + 1)


def _fields(value: Any, place: str) -> list[tuple[Any, Any, str]]:
    """Return every field in a JSON value: its parent, its key and its place."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    found = []
    for key, inner in items:
        where = f"{place}.{key}".lstrip(".")
        found += [(value, key, where), *_fields(inner, where)]
    return found


def repeat(directory: Path, rng: Random) -> Damaged:
    """Store an outcome twice, which changes nothing."""
    path = directory / TRIALS
    lines = path.read_text().split("\n")
    number = rng.randrange(1, len(lines) - 1)
    lines.insert(number, lines[number])
    path.write_text("\n".join(lines))
    return Damaged(path, f"line {number + 1} repeated", is_lossless=True)


def foreign(directory: Path, rng: Random) -> Damaged:
    """Let an outcome be of another sweep or trial."""
    path = directory / TRIALS
    lines = path.read_text().split("\n")
    number = rng.randrange(1, len(lines) - 1)
    outcome = json.loads(lines[number])
    key = rng.choice(("sweep", "id", "seed", "nodes", "batch_size"))
    old = outcome["order"][key]
    outcome["order"][key] = old + 1 if isinstance(old, int) else f"{old}-2"
    lines[number] = json.dumps(outcome)
    path.write_text("\n".join(lines))
    return Damaged(path, f"{key} of line {number + 1} is another trial's", number + 1)


def remove(directory: Path, rng: Random) -> Damaged:
    """Remove a file."""
    path = _any_file(directory, rng)
    path.unlink()
    return Damaged(path, "removed")


def replace(directory: Path, rng: Random) -> Damaged:
    """Put a pipe or a directory in the place of a file."""
    path = _any_file(directory, rng)
    path.unlink()
    if rng.random() < 0.5:  # noqa: PLR2004 - one of two
        os.mkfifo(path)
        return Damaged(path, "replaced by a pipe")
    path.mkdir()
    return Damaged(path, "replaced by a directory")


def make_arrays(directory: Path) -> None:
    """Write data of the user's own: 3,500 small images."""
    import numpy as np  # takes a while to import

    rng = np.random.default_rng(1)
    directory.mkdir()
    arrays: dict[str, Any] = {}
    for part, count in (("train", 3000), ("test", 500)):
        labels = rng.integers(0, 10, count)
        images = rng.integers(0, 40, (count, 28, 28)) + 20 * labels[:, None, None]
        arrays |= {f"{part}_images": images.astype(np.uint8), f"{part}_labels": labels}
    np.savez(directory / "arrays.npz", **arrays)


KINDS: Final = (
    Kind("cut result file", cut),
    Kind("zeros in a result file", zero),
    Kind("bit flipped in a result file", flip),
    Kind("bytes missing in an outcome", remove_bytes),
    Kind("field of another type", wrong_type),
    Kind("field out of bounds", out_of_bounds),
    Kind("outcome stored twice", repeat),
    Kind("outcome of another trial", foreign),
    Kind("result file removed", remove),
    Kind("result file replaced by a pipe or directory", replace),
    Kind("cut data file", cut, is_data=True),
    Kind("zeros in a data file", zero, is_data=True),
    Kind("bit flipped in a data file", flip, is_data=True),
    Kind("data file removed", remove, is_data=True),
    Kind("data file replaced by a pipe or directory", replace, is_data=True),
)
"""Every kind of damage to a stored file."""
