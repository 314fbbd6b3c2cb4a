"""JSON documents on disk, each with its kind and version, and never half-written."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from dnnbench.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION: Final = 1
T = TypeVar("T")


class Header(msgspec.Struct, frozen=True):
    """The header of every document; in JSON lines it is the first line.

    Attributes:
        dnnbench: the kind of document, such as ``plan``.
        version: of the results format; raised by a change that an older dnnbench would misread.
    """

    dnnbench: str
    version: int = VERSION


class Document(msgspec.Struct, Generic[T], frozen=True, forbid_unknown_fields=True):
    """A value with its header."""

    dnnbench: str
    version: int
    content: T


def write_document(path: Path, kind: str, content: Any) -> None:
    """Write a document to a temporary file, fsync it, and move it into place."""
    text = msgspec.json.encode(Document(kind, VERSION, content))
    write_whole(path, msgspec.json.format(text, indent=2) + b"\n")


def read_document(path: Path, kind: str, content_type: type[T]) -> T:
    """Read a document.

    Raises:
        ResultsError: it is missing, damaged, of another kind or version.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot be read: {error.strerror}", where=str(path)) from None
    check_header(text, kind, str(path))
    try:
        return msgspec.json.decode(text, type=Document[content_type]).content  # type: ignore[valid-type]  # made at run time
    except msgspec.DecodeError as error:
        raise ResultsError(f"is damaged: {error}", where=str(path)) from None


def check_header(text: bytes, kind: str, where: str) -> None:
    """Raise `ResultsError` unless the JSON object is a document of this kind and version."""
    try:
        header = msgspec.json.decode(text, type=Header)
    except msgspec.DecodeError as error:
        raise ResultsError(f"is damaged: {error}", where=where) from None
    if header.version != VERSION:
        raise ResultsError(
            f"has results format {header.version}, but this dnnbench reads {VERSION}",
            where=where,
            remedy="use the dnnbench that wrote it",
        )
    if header.dnnbench != kind:
        raise ResultsError(f"holds {header.dnnbench!r}, not {kind!r}", where=where)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the file system, such as a full disk, into a `ResultsError`."""
    try:
        yield
    except OSError as error:
        raise ResultsError(f"cannot be written: {error.strerror}", where=str(path)) from error


def header_line(kind: str) -> bytes:
    """Return the first line of a file of JSON lines."""
    return msgspec.json.encode(Header(kind)) + b"\n"


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file's content: after a crash it holds the old or the new, never a part.

    A symbolic link stays, and the file that it leads to is replaced. What is not a regular file,
    such as a device, a pipe or a FIFO, is written to and never replaced.
    """
    with writing(path):
        path = path.resolve()
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)
            return
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Fsync a directory's entries; a file's own fsync does not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
