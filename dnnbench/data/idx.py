"""Files in the IDX format, packed with gzip or not: find, unpack, verify.

The format: two zero bytes, a type (8: unsigned byte), the number of dimensions, every dimension as
a big-endian 32-bit number, then the data (source: yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from typing import TYPE_CHECKING

from dnnbench.data import catalogue
from dnnbench.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

_UNSIGNED_BYTE = 8


def home(directory: Path, wanted: catalogue.FileSet) -> Path | None:
    """Return ``directory``, or the one below it that has any of the set's files, or None.

    Below it: one named after the set, and torchvision's.
    """
    candidates = (
        directory,
        directory / wanted.name,
        directory / "raw",
        directory / wanted.torchvision_name / "raw",
    )
    for candidate in candidates:
        if any(path_of(file, candidate) for file in wanted.files):
            return candidate
    return None


def path_of(file: catalogue.IdxFile, directory: Path) -> Path | None:
    """Return where the file is: unpacked or ``.gz``, ``-idx3`` or ``.idx3``; None if nowhere."""
    for form in (file.name, file.name.replace("-idx", ".idx")):
        for path in (directory / form, directory / f"{form}.gz"):
            if path.is_file():
                return path
    return None


def read_all(wanted: catalogue.FileSet, directory: Path) -> list[bytes]:
    """Return the contents of the set's four files, verified, in the set's order.

    Raises:
        DataError: a file is missing or not what it should be.
    """
    paths = {file.name: path_of(file, directory) for file in wanted.files}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise DataError(
            f"no {', '.join(missing)} here",
            where=str(directory),
            remedy=f"{wanted.name} needs all four IDX files, packed with gzip or not",
        )
    return [
        read(path, file) for path, file in zip(paths.values(), wanted.files, strict=True) if path
    ]


def read(path: Path, file: catalogue.IdxFile) -> bytes:
    """Return the file's unpacked content, verified to be ``file``'s.

    Raises:
        DataError: unreadable, truncated, of another format, count or shape, or with other content.
    """
    header = header_of(file)
    expected_bytes = len(header) + math.prod(file.shape)
    content = _unpacked(path, expected_bytes + 1)
    problem = _problem(content, header, expected_bytes, file)
    if problem:
        raise DataError(problem, where=str(path), remedy=f"replace it by the published {file.name}")
    return content


def header_of(file: catalogue.IdxFile) -> bytes:
    """Return the bytes that an IDX file of this shape starts with."""
    dimensions = len(file.shape)
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    return magic + struct.pack(f">{dimensions}I", *file.shape)


def _unpacked(path: Path, limit_bytes: int) -> bytes:
    try:
        if path.suffix != ".gz":
            with path.open("rb") as plain:
                return plain.read(limit_bytes)
        with gzip.open(path) as packed:
            return packed.read(limit_bytes)
    except EOFError:
        raise DataError(
            "the gzip file is truncated", where=str(path), remedy="get it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"not a sound gzip file ({error})", where=str(path), remedy="get it again"
        ) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _problem(
    content: bytes, header: bytes, expected_bytes: int, file: catalogue.IdxFile
) -> str | None:
    """Say what is wrong, the most telling thing first; None where all is well."""
    magic = content[:4]
    if magic != header[:4]:
        return f"not such an IDX file: starts with {magic.hex()}, not {header[:4].hex()}"
    if content[: len(header)] != header:
        sizes = struct.unpack(
            f">{len(file.shape)}I", content[4 : len(header)].ljust(len(header) - 4)
        )
        return f"holds {_times(sizes)} values, expected {_times(file.shape)}"
    if len(content) < expected_bytes:
        return f"truncated: {len(content):,} bytes, expected {expected_bytes:,}"
    if len(content) > expected_bytes:
        return f"too long: more than the expected {expected_bytes:,} bytes"
    found = hashlib.sha256(content).hexdigest()
    if found != file.content_sha256:
        owner = catalogue.owner_of(found)
        return f"this is {owner}" if owner else f"wrong content: its SHA-256 is {found[:16]}…"
    return None


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)
