"""The data sets by name.

Checksums are SHA-256. A set is told by its unpacked content, so a file that somebody unpacked or
packed again is as good as the published archive; a download has to be the published archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.data.published import (
    CIFAR_10,
    FASHION_MNIST,
    MNIST,
    SYNTHETIC_CIFAR_10,
    SYNTHETIC_MNIST,
)
from dnnbench.errors import DataError, nearest

if TYPE_CHECKING:
    from dnnbench.data.sets import FileSet, GeneratedSet

DIRECTORY = "directory:"
"""Prefix of the path of a user's own arrays, see `dnnbench.data.arrays`."""

FILE_SETS: dict[str, FileSet] = {known.name: known for known in (MNIST, FASHION_MNIST, CIFAR_10)}
GENERATED: dict[str, GeneratedSet] = {
    known.name: known for known in (SYNTHETIC_MNIST, SYNTHETIC_CIFAR_10)
}
NAMES = (*FILE_SETS, *GENERATED)
EXPECTED = f"{', '.join(NAMES)} or {DIRECTORY}PATH"
"""What a data set may be called, for messages."""

SYNTHETIC = SYNTHETIC_MNIST.name
SYNTHETIC_DIGEST = SYNTHETIC_MNIST.digest
SYNTHETIC_EXAMPLES = SYNTHETIC_MNIST.examples


def file_set(name: str) -> FileSet:
    """Return the published data set of that name.

    Raises:
        DataError: there is none.
    """
    if name in FILE_SETS:
        return FILE_SETS[name]
    raise DataError(f"no data set {name!r}", remedy=nearest(name, NAMES) or f"choose {EXPECTED}")


def is_known(name: str) -> bool:
    """Return whether this names a data set, or a directory that may hold one."""
    return name in NAMES or name.startswith(DIRECTORY)


def owner_of(content_sha256: str) -> FileSet | None:
    """Return the set that has a file with this content, or None."""
    for known in FILE_SETS.values():
        if any(file.content_sha256 == content_sha256 for file in known.files):
            return known
    return None
