"""Files of a published data set, packed with gzip or not: find, unpack, verify."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from dnnbench.data import catalog
from dnnbench.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.data.sets import FileSet, PublishedFile


def home(directory: Path, wanted: FileSet) -> Path | None:
    """Return ``directory``, or the one below it that has any of the set's files, or None.

    Below it: one named after the set, and those of other programs.
    """
    candidates = [directory / below for below in (".", wanted.name, "raw", *wanted.folders)]
    for candidate in candidates:
        if any(path_of(file, candidate) for file in wanted.files):
            return candidate
    return None


def path_of(file: PublishedFile, directory: Path) -> Path | None:
    """Return where the file is: unpacked or ``.gz``, ``-idx3`` or ``.idx3``; None if nowhere."""
    for form in (file.name, file.name.replace("-idx", ".idx")):
        for path in (directory / form, directory / f"{form}.gz"):
            if path.is_file():
                return path
    return None


def paths_of(wanted: FileSet, directory: Path) -> list[Path]:
    """Return where the set's files are, in its order.

    Raises:
        DataError: a file is missing.
    """
    paths = {file.name: path_of(file, directory) for file in wanted.files}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise DataError(
            f"no {', '.join(missing)} here",
            where=str(directory),
            remedy=f"{wanted.title} needs all its {len(paths)} files, packed with gzip or not",
        )
    return [path for path in paths.values() if path]


def read_all(wanted: FileSet, directory: Path) -> list[bytes]:
    """Return the contents of the set's files, verified, in the set's order.

    Raises:
        DataError: a file is missing or not what it should be.
    """
    paths = paths_of(wanted, directory)
    try:
        return [read(path, file) for path, file in zip(paths, wanted.files, strict=True)]
    except DataError:
        owner = _owner(wanted, paths)
        if owner is None or owner == wanted:
            raise
        raise DataError(
            f"holds {owner.title}, not {wanted.title}",
            where=str(directory),
            remedy="give --data-dir another directory",
        ) from None


def read(path: Path, file: PublishedFile) -> bytes:
    """Return the file's unpacked content, verified to be ``file``'s.

    Raises:
        DataError: unreadable, truncated, of another format, count or shape, or with other content.
    """
    content = _unpacked(path, file.size_bytes + 1)
    if problem := _problem(content, file) or _other_content(content, file):
        remedy = f"replace it by the published {file.name}"
        raise DataError(problem, where=str(path), remedy=remedy)
    return content


def _owner(wanted: FileSet, paths: list[Path]) -> FileSet | None:
    """Return the set that all these files are of, or None."""
    with suppress(DataError):
        contents = [
            _unpacked(path, file.size_bytes + 1)
            for path, file in zip(paths, wanted.files, strict=True)
        ]
        owners = {catalog.owner_of(hashlib.sha256(content).hexdigest()) for content in contents}
        return owners.pop() if len(owners) == 1 else None
    return None


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


def _problem(content: bytes, file: PublishedFile) -> str | None:
    """Return what is wrong with header or size, the most telling thing first; None if nothing."""
    header, expected_bytes = file.header, file.size_bytes
    magic = content[: min(4, len(header))]
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
    return None


def _other_content(content: bytes, file: PublishedFile) -> str | None:
    """Return what the content is where it is not the file's; None if it is."""
    found = hashlib.sha256(content).hexdigest()
    if found == file.content_sha256:
        return None
    owner = catalog.owner_of(found)
    return (
        f"this is a file of {owner.title}"
        if owner
        else f"wrong content: its SHA-256 is {found[:16]}…"
    )


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in sizes)
