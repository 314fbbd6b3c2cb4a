"""A user's own arrays: ``directory:PATH`` names a directory with one ``.npz`` file.

Keys: ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, and both or neither of
``validation_images`` and ``validation_labels``. Images are uint8 [n, height, width] or [n, height,
width, channels], labels integers [n] from 0. Nothing in the file is unpickled, and the size of an
array is judged by its header, before it is read.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from dnnbench.data.sets import ExampleShape
from dnnbench.errors import DataError, nearest

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[Any]

KEYS = ("train_images", "train_labels", "test_images", "test_labels")
VALIDATION_KEYS = ("validation_images", "validation_labels")
MOST_BYTES = 8_000_000_000
"""Of all arrays together; every host keeps them in memory."""
VALIDATION_SHARE = 10
"""One in ten training examples, the last ones, validates if no array is given for it."""
_SUFFIX = ".npy"
_MOST_MEMBERS = 100
_FEWEST_CLASSES = 2


class Arrays(NamedTuple):
    """A user's data: flat images ``[n, examples.values]``, labels ``[n]``.

    Attributes:
        digest: SHA-256 over the six arrays, whatever they were packed with.
    """

    parts: list[Array]
    examples: ExampleShape
    digest: str


def path_in(directory: Path) -> Path:
    """Return the one ``.npz`` file in a directory.

    Raises:
        DataError: there is no such directory, or not one such file.
    """
    if not directory.is_dir():
        problem = "there is no such directory"
        if directory.exists():
            problem = "expected a directory with one .npz file, found a file"
        raise DataError(problem, where=str(directory), remedy="check --dataset")
    found = sorted(directory.glob("*.npz"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:2])
        count = f"{len(found)}, among them {names}" if found else "none"
        raise DataError(
            f"expected one .npz file in this directory, found {count}",
            where=str(directory),
        )
    return found[0]


def read(directory: Path) -> Arrays:
    """Read and check the arrays in a directory.

    Raises:
        DataError: a file or an array is not as expected.
    """
    path = directory
    try:
        path = path_in(directory)
        if not path.is_file():
            raise DataError("expected a regular file", where=str(path))
        with zipfile.ZipFile(path) as packed:
            given = _read_members(packed, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        problem = f"not a sound .npz file: {' '.join(str(error).split()) or 'it is cut off'}"
        raise DataError(problem, where=str(path), remedy="make it with numpy.savez") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    return _checked(given, str(path))


def _read_members(packed: zipfile.ZipFile, path: Path) -> dict[str, Array]:
    """Return the arrays of the file by key, in the order of the keys."""
    names = [info.filename.removesuffix(_SUFFIX) for info in packed.infolist()[:_MOST_MEMBERS]]
    expected = (*KEYS, *(VALIDATION_KEYS if set(VALIDATION_KEYS) & set(names) else ()))
    for name in names:
        if name not in expected:
            raise DataError(
                f"expected the arrays {', '.join(expected)}, found {name!r:.80}",
                where=str(path),
                remedy=nearest(name, expected),
            )
    if missing := [key for key in expected if key not in names]:
        raise DataError(f"there is no array {', '.join(missing)}", where=str(path))
    arrays: dict[str, Array] = {}
    left_bytes = MOST_BYTES
    for key in expected:
        with packed.open(key + _SUFFIX) as member:
            arrays[key] = _read_array(member, f"{path}: {key}", left_bytes)
        left_bytes -= arrays[key].nbytes
    return arrays


def _read_array(member: IO[bytes], where: str, most_bytes: int) -> Array:
    """Return one array, once its header promises what is expected."""
    try:
        version = npy.read_magic(member)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, kind = header(member)
    except ValueError as error:
        problem = f"not a sound array: {' '.join(str(error).split())}"
        raise DataError(problem, where=where) from None
    is_images = where.endswith("images")
    fits = kind == np.uint8 if is_images else kind.kind in "iu"
    dimensions = (3, 4) if is_images else (1,)
    if not fits or len(shape) not in dimensions:
        expected = (
            "uint8 [n, height, width] or [n, height, width, channels]"
            if is_images
            else "integers [n]"
        )
        raise DataError(f"expected {expected}, found {kind} {list(shape)}", where=where)
    size_bytes = math.prod(shape) * kind.itemsize
    if min(shape) < 1:
        raise DataError(f"expected at least one value, found {list(shape)}", where=where)
    if size_bytes > most_bytes:
        raise DataError(
            f"expected at most {MOST_BYTES / 1e9:g} GB of arrays, found {list(shape)} here",
            where=where,
        )
    content = member.read(size_bytes + 1)
    if len(content) != size_bytes:
        problem = f"expected {size_bytes:,} bytes, as its header has it, found "
        found = "more" if len(content) > size_bytes else f"{len(content):,}"
        raise DataError(problem + found, where=where)
    flat = np.frombuffer(content, kind)
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


def _checked(given: dict[str, Array], where: str) -> Arrays:
    """Check that all parts fit each other, and split off what validates."""
    found = np.unique(given["train_labels"])
    classes = len(found)
    if classes < _FEWEST_CLASSES or found[0] != 0 or found[-1] != classes - 1:
        raise DataError(
            f"expected training labels 0 to classes - 1, each at least once, of at least "
            f"{_FEWEST_CLASSES} classes, found {classes} different ones from {found[0]} to "
            f"{found[-1]}",
            where=where,
        )
    _check_pairs(given, classes, where)
    if VALIDATION_KEYS[0] not in given:
        kept = len(given[KEYS[0]]) - max(1, len(given[KEYS[0]]) // VALIDATION_SHARE)
        for key, train in zip(VALIDATION_KEYS, KEYS[:2], strict=True):
            given[key], given[train] = given[train][kept:], given[train][:kept]
    parts: list[Array] = []
    digest = hashlib.sha256()
    for key in (*KEYS[:2], *VALIDATION_KEYS, *KEYS[2:]):
        part = np.ascontiguousarray(given[key])
        part = part.astype("<i4") if key.endswith("labels") else part.reshape(len(part), -1)
        part.setflags(write=False)
        digest.update(f"{part.shape}\n".encode())
        digest.update(part.data)
        parts.append(part)
    height, width, *channels = given[KEYS[0]].shape[1:]
    shape = ExampleShape((height, width, channels[0] if channels else 1), classes)
    digest.update(f"{shape.image}".encode())
    return Arrays(parts, shape, digest.hexdigest())


def _check_pairs(given: dict[str, Array], classes: int, where: str) -> None:
    """Refuse images and labels that do not belong together, or to the training images."""
    image = given[KEYS[0]].shape[1:]
    keys = list(given)
    for images_key, labels_key in zip(keys[::2], keys[1::2], strict=True):
        images, labels = given[images_key], given[labels_key]
        if images.shape[1:] != image or len(images) != len(labels):
            raise DataError(
                f"expected {images_key} and {labels_key} of one length and images of "
                f"{list(image)}, found {list(images.shape)} and {list(labels.shape)}",
                where=where,
            )
        if labels.min() < 0 or labels.max() >= classes:
            raise DataError(
                f"expected {labels_key} from 0 to {classes - 1}, the classes of train_labels, "
                f"found {labels.min()} to {labels.max()}",
                where=where,
            )
