"""The binary form of CIFAR-10: decode its records, unpack its archive.

A record is a label, then 32 x 32 values of red, as many of green, and as many of blue (source:
cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from dnnbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dnnbench.data.sets import FileSet

    Bytes = npt.NDArray[np.uint8]


def decode(contents: Sequence[bytes], image: tuple[int, int, int]) -> tuple[Bytes, Bytes]:
    """Return flat images ``[n, height x width x channels]`` and labels ``[n]`` of whole records."""
    height, width, channels = image
    values = height * width * channels
    records = [np.frombuffer(content, np.uint8).reshape(-1, 1 + values) for content in contents]
    count = sum(map(len, records))
    images = np.empty((count, height, width, channels), np.uint8)
    labels: Any = np.empty(count, np.uint8)
    first = 0
    for part in records:
        here = slice(first, first := first + len(part))
        labels[here] = part[:, 0]
        images[here] = part[:, 1:].reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    flat = images.reshape(count, values)
    for made in (flat, labels):
        made.setflags(write=False)
    return flat, labels


def unpack(archive: Path, wanted: FileSet, directory: Path) -> None:
    """Put the set's files out of its archive into ``directory``; nothing else of it is read.

    Raises:
        DataError: the archive is damaged, or a file cannot be written.
    """
    sizes = {file.name: file.size_bytes for file in wanted.files}
    try:
        with tarfile.open(archive, "r|gz") as packed:
            for member in packed:
                name = PurePosixPath(member.name).name
                source = packed.extractfile(member) if member.isfile() else None
                if source is None or sizes.get(name) != member.size:
                    continue
                partial = directory / f"{name}.part"
                with source, partial.open("wb") as target:
                    shutil.copyfileobj(source, target)
                partial.replace(directory / name)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(f"not a sound archive ({error})", where=str(archive)) from None
    except OSError as error:
        problem = f"cannot be unpacked: {error.strerror or error}"
        raise DataError(problem, where=os.fspath(directory)) from None
