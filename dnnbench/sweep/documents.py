"""JSON documents on disk, each with its kind and version, and never half-written."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from dnnbench.errors import ResultsError
from dnnbench.settings.textfile import read_regular
from dnnbench.text.safe import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
MOST_BYTES: Final = 256_000_000
"""Size of a document; a plan of the most trials that a sweep may have is below 20 MB."""
_CHANGED: Final = re.compile("Object contains unknown field|Invalid enum value")
"""How msgspec words what another version may have written."""
T = TypeVar("T")


class Header(msgspec.Struct, frozen=True):
    """The header of every document; in JSON lines it is the first line.

    Attributes:
        dnnbench: the kind of document, such as ``plan``.
        version: of the results format; raised by a change that an older dnnbench would misread.
    """

    dnnbench: str
    version: int = VERSION


_header_decoder: Final = msgspec.json.Decoder(Header)


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
        text = read_regular(path, MOST_BYTES, ResultsError)
    except OSError as error:
        raise ResultsError(f"cannot be read: {error.strerror}", where=str(path)) from None
    check_header(text, kind, str(path))
    decoder = msgspec.json.Decoder(Document[content_type])  # type: ignore[valid-type]  # made at run time
    content: T = decode(decoder, text, str(path)).content
    return content


def decode(decoder: msgspec.json.Decoder[T], text: bytes, where: str) -> T:
    """Decode stored JSON, which anybody may have edited.

    Raises:
        ResultsError: it is damaged, a value is out of bounds, or it is of another version.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        if _CHANGED.match(str(error)):
            raise ResultsError(
                f"is of another version of dnnbench: {one_line(str(error))}",
                where=where,
                remedy="use the dnnbench that wrote it",
            ) from None
        raise ResultsError(f"is damaged: {one_line(str(error))}", where=where) from None
    # JSON may be nested deeper than Python recurses, or contain half of a surrogate pair.
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ResultsError(f"is damaged: {one_line(str(error))}", where=where) from None


def check_header(text: bytes, kind: str, where: str) -> None:
    """Raise `ResultsError` unless the JSON object is a document of this kind and version."""
    header = decode(_header_decoder, text, where)
    if header.version != VERSION:
        raise ResultsError(
            f"has results format {header.version}, but this dnnbench reads {VERSION}",
            where=where,
            remedy="use the dnnbench that wrote it",
        )
    if header.dnnbench != kind:
        raise ResultsError(f"holds {one_line(header.dnnbench)!r}, not {kind!r}", where=where)


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
        # Asked before the link is resolved: that of /dev/stdout to a pipe leads to no path.
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)
            return
        path = Path(os.path.realpath(path))  # `Path.resolve` has an error of its own for a loop
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
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
