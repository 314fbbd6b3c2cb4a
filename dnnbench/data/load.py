"""Load a data set into memory: the host's half of :mod:`dnnbench.data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dnnbench.data import arrays, catalog, cifar, files, noise, synthetic
from dnnbench.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from dnnbench.data.sets import ExampleShape, FileSet, GeneratedSet, PublishedFile
    from dnnbench.trial.spec import DataSpec

    Bytes = npt.NDArray[np.uint8]
    Labels = npt.NDArray[Any]


class DataSet(NamedTuple):
    """A data set in memory, read-only: flat images ``[n, examples.values]`` and labels ``[n]``.

    n of MNIST and the like is 55,000 for training, 5,000 for validation, 10,000 for testing: of the
    60,000 examples that are published for training, the last 5,000 validate. Labels are integers.
    """

    train_images: Bytes
    train_labels: Labels
    validation_images: Bytes
    validation_labels: Labels
    test_images: Bytes
    test_labels: Labels
    examples: ExampleShape


def load(spec: DataSpec) -> DataSet:
    """Load a data set, in a second or two, with the label noise that is asked for.

    Meant for a process that forks afterward: its children share the arrays.

    Raises:
        DataError: the data are not here, damaged, or not those asked for.
    """
    if spec.name in catalog.GENERATED:
        data, digest = _generated(catalog.GENERATED[spec.name])
    elif spec.name.startswith(catalog.DIRECTORY):
        own = arrays.read(Path(spec.directory or "."))
        data, digest = DataSet._make([*own.parts, own.examples]), own.digest
    else:
        wanted = catalog.file_set(spec.name)
        data, digest = _from_files(wanted, Path(spec.directory or ".")), wanted.digest
    if digest != spec.digest:
        cure = "restore its files, or start a new sweep"
        if spec.name in catalog.NAMES:
            cure = "use the same version of dnnbench on all hosts"
        raise DataError(
            f"{spec.name} here has digest {digest[:16]}…, the sweep's has {spec.digest[:16]}…",
            remedy=cure,
        )
    if not spec.label_noise:
        return data
    noisy = noise.with_noise(data.train_labels, data.examples.classes, spec.label_noise)
    return data._replace(train_labels=noisy)


def _from_files(wanted: FileSet, directory: Path) -> DataSet:
    contents = files.read_all(wanted, directory)
    if wanted.layout == "cifar":
        images, labels = cifar.decode(contents[:-1], wanted.image)
        test_images, test_labels = cifar.decode(contents[-1:], wanted.image)
    else:
        images, labels, test_images, test_labels = map(_view, contents, wanted.files)
    train = slice(wanted.train_count)
    validation = slice(wanted.train_count, None)
    return DataSet(
        images[train],
        labels[train],
        images[validation],
        labels[validation],
        test_images,
        test_labels,
        wanted.examples,
    )


def _view(content: bytes, file: PublishedFile) -> Bytes:
    """Return a verified file's data, ``[examples, values]`` or ``[examples]``, without a copy."""
    data = np.frombuffer(content, np.uint8, offset=len(file.header))
    return data if len(file.shape) == 1 else data.reshape(file.shape[0], -1)


def _generated(wanted: GeneratedSet) -> tuple[DataSet, str]:
    train, learn = wanted.train_count, wanted.learn_count
    images, labels = synthetic.generate(learn + wanted.test_count, wanted.examples)
    data = DataSet(
        images[:train],
        labels[:train],
        images[train:learn],
        labels[train:learn],
        images[learn:],
        labels[learn:],
        wanted.examples,
    )
    return data, synthetic.digest(images, labels)
