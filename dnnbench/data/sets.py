"""The values that describe a data set: shape, files, checksums."""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path
from typing import Literal

import msgspec

_UNSIGNED_BYTE = 8
"""The type of the values in an IDX file, as its header has it."""


class ExampleShape(msgspec.Struct, frozen=True):
    """The shape of a data set's examples.

    Attributes:
        image: height, width and channels; each value is a byte.
        classes: labels are 0 to ``classes - 1``.
    """

    image: tuple[int, int, int]
    classes: int

    @property
    def values(self) -> int:
        """Values of an image, as many as a flat one has."""
        return math.prod(self.image)


class Archive(msgspec.Struct, frozen=True):
    """A file to download: a ``.gz`` of one file, or a ``.tar.gz`` of all files of a set."""

    name: str
    sha256: str
    size_bytes: int


class PublishedFile(msgspec.Struct, frozen=True):
    """A file of bytes, without a header.

    Attributes:
        name: without ``.gz``.
        shape: examples first.
        content_sha256: of the unpacked file.
    """

    name: str
    shape: tuple[int, ...]
    content_sha256: str

    @property
    def header(self) -> bytes:
        """The bytes that the file starts with."""
        return b""

    @property
    def size_bytes(self) -> int:
        """The size of the unpacked file."""
        return len(self.header) + math.prod(self.shape)


class IdxFile(PublishedFile, frozen=True):
    """A file in the IDX format.

    The format: two zero bytes, a type (8: unsigned byte), the number of dimensions, every dimension
    as a big-endian 32-bit number, then the data (source: yann.lecun.com/exdb/mnist).

    Attributes:
        archive_sha256: of the ``.gz`` as published.
        archive_bytes: size of the ``.gz`` as published.
    """

    archive_sha256: str
    archive_bytes: int

    @property
    def header(self) -> bytes:
        """The bytes that an IDX file of this shape starts with."""
        dimensions = len(self.shape)
        magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
        return magic + struct.pack(f">{dimensions}I", *self.shape)


class FileSet(msgspec.Struct, frozen=True, kw_only=True):
    """A published data set.

    Attributes:
        title: its name as it is published.
        folders: that other programs keep its files in, below a directory of data sets.
        files: IDX files of training images and labels, test images and labels; or the files of
            records as CIFAR-10 has them, those for testing last.
        archive: of all files; None where each is published as a ``.gz`` of its own.
        mirrors: addresses that an archive's name is appended to, preferred first.
        system_directory: where Debian installs its data sets; None for what it does not have.
        stand_in: the generated set of the same shape.
        validation_count: number of the last training examples that are used for validation.
        classes: labels are 0 to ``classes - 1``.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    files: tuple[PublishedFile, ...]
    mirrors: tuple[str, ...]
    stand_in: str
    image: tuple[int, int, int]
    archive: Archive | None = None
    system_directory: Path | None = None
    layout: Literal["idx", "cifar"] = "idx"
    validation_count: int = 5_000
    classes: int = 10

    @property
    def examples(self) -> ExampleShape:
        """The shape of its examples."""
        return ExampleShape(self.image, self.classes)

    @property
    def train_count(self) -> int:
        """Examples to train on."""
        images = self.files[:1] if self.layout == "idx" else self.files[:-1]
        return sum(file.shape[0] for file in images) - self.validation_count

    @property
    def archives(self) -> list[Archive]:
        """What is to be downloaded."""
        if self.archive:
            return [self.archive]
        return [
            Archive(f"{file.name}.gz", file.archive_sha256, file.archive_bytes)
            for file in self.files
            if isinstance(file, IdxFile)
        ]

    @property
    def digest(self) -> str:
        """One SHA-256 for the set: over the files' checksums, one per line."""
        lines = "".join(f"{file.content_sha256}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


class GeneratedSet(msgspec.Struct, frozen=True):
    """A generated data set, see `dnnbench.data.synthetic`.

    Attributes:
        digest: SHA-256 over the images' bytes and then the labels'.
    """

    name: str
    examples: ExampleShape
    train_count: int
    validation_count: int
    test_count: int
    digest: str

    @property
    def learn_count(self) -> int:
        """Examples to train on and to validate with."""
        return self.train_count + self.validation_count
