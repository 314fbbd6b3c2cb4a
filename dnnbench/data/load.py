"""Load a data set into memory: the host's half of :mod:`dnnbench.data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dnnbench.data import catalogue, idx, synthetic
from dnnbench.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from dnnbench.trial.spec import DataSpec

    Bytes = npt.NDArray[np.uint8]


class DataSet(NamedTuple):
    """A data set in memory, read-only: flat images ``[n, examples.values]`` and labels ``[n]``.

    n of MNIST and the like is 55,000 for training, 5,000 for validation, 10,000 for testing: of the
    60,000 examples that are published for training, the last 5,000 validate.
    """

    train_images: Bytes
    train_labels: Bytes
    validation_images: Bytes
    validation_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    examples: catalogue.ExampleShape


def load(spec: DataSpec) -> DataSet:
    """Load a data set, in well under a second.

    Meant for a process that forks afterwards: its children share the arrays.

    Raises:
        DataError: the data are not here, damaged, or not those asked for.
    """
    if spec.name == catalogue.SYNTHETIC:
        data, digest = _generated()
    else:
        wanted = catalogue.file_set(spec.name)
        data, digest = _from_files(wanted, Path(spec.directory or ".")), wanted.digest
    if digest != spec.digest:
        raise DataError(
            f"{spec.name} here has digest {digest[:16]}…, the sweep's has {spec.digest[:16]}…",
            remedy="use the same version of dnnbench on all hosts",
        )
    return data


def _from_files(wanted: catalogue.FileSet, directory: Path) -> DataSet:
    contents = idx.read_all(wanted, directory)
    images, labels, test_images, test_labels = map(_view, contents, wanted.files)
    return _split(
        images,
        labels,
        test_images,
        test_labels,
        validation_count=wanted.validation_count,
        examples=wanted.examples,
    )


def _view(content: bytes, file: catalogue.IdxFile) -> Bytes:
    """Return a verified file's data, ``[examples, values]`` or ``[examples]``, without a copy."""
    data = np.frombuffer(content, np.uint8, offset=len(idx.header_of(file)))
    return data if len(file.shape) == 1 else data.reshape(file.shape[0], -1)


def _generated() -> tuple[DataSet, str]:
    learn_count = catalogue.TRAIN_COUNT + catalogue.VALIDATION_COUNT
    images, labels = synthetic.generate(learn_count + catalogue.TEST_COUNT)
    data = _split(
        images[:learn_count],
        labels[:learn_count],
        images[learn_count:],
        labels[learn_count:],
        validation_count=catalogue.VALIDATION_COUNT,
        examples=catalogue.SYNTHETIC_EXAMPLES,
    )
    return data, synthetic.digest(images, labels)


def _split(
    images: Bytes,
    labels: Bytes,
    test_images: Bytes,
    test_labels: Bytes,
    *,
    validation_count: int,
    examples: catalogue.ExampleShape,
) -> DataSet:
    train = len(images) - validation_count
    return DataSet(
        images[:train],
        labels[:train],
        images[train:],
        labels[train:],
        test_images,
        test_labels,
        examples,
    )
