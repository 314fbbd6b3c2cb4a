"""The data sets there are: files, shapes, checksums and where to get them.

Checksums are SHA-256. A set is told by its unpacked content, so a file that somebody unpacked or
packed again is as good as the published archive; a download has to be the published archive.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import msgspec

from dnnbench.errors import DataError, nearest

SYNTHETIC = "synthetic-mnist"
SYNTHETIC_DIGEST = "78ebf6f4730ae69ace03fc1a99aa3f4a7a1045b9557c9044693487d996d515b1"
TRAIN_COUNT, VALIDATION_COUNT, TEST_COUNT = 55_000, 5_000, 10_000
_LEARN_COUNT = TRAIN_COUNT + VALIDATION_COUNT  # what the published "train" files hold


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


class IdxFile(msgspec.Struct, frozen=True):
    """One IDX file.

    Attributes:
        name: without ``.gz``.
        shape: examples first.
        content_sha256: of the unpacked file.
        archive_sha256: of the ``.gz`` as published.
        archive_bytes: size of the ``.gz`` as published.
    """

    name: str
    shape: tuple[int, ...]
    content_sha256: str
    archive_sha256: str
    archive_bytes: int


class FileSet(msgspec.Struct, frozen=True):
    """A data set of four IDX files: training images and labels, test images and labels.

    Attributes:
        torchvision_name: of the directory that torchvision keeps it in.
        mirrors: addresses that a file's name is appended to, preferred first.
        system_directory: where Debian installs its data sets.
        validation_count: so many of the training files' last examples validate.
        classes: labels are 0 to ``classes - 1``.
    """

    name: str
    torchvision_name: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]
    system_directory: Path
    validation_count: int = VALIDATION_COUNT
    classes: int = 10

    @property
    def examples(self) -> ExampleShape:
        """The shape of its examples; IDX files of images have one channel."""
        _, height, width = self.files[0].shape
        return ExampleShape((height, width, 1), self.classes)

    @property
    def digest(self) -> str:
        """One SHA-256 for the set: over the four files' checksums, one a line."""
        lines = "".join(f"{file.content_sha256}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


# Archive checksums: as several public loaders record them for the files that yann.lecun.com
# published, torch-rb among them. Content checksums: computed from the data.
_MNIST = FileSet(
    name="mnist",
    torchvision_name="MNIST",
    files=(
        IdxFile(
            name="train-images-idx3-ubyte",
            shape=(_LEARN_COUNT, 28, 28),
            content_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            archive_sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            archive_bytes=9_912_422,
        ),
        IdxFile(
            name="train-labels-idx1-ubyte",
            shape=(_LEARN_COUNT,),
            content_sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            archive_sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            archive_bytes=28_881,
        ),
        IdxFile(
            name="t10k-images-idx3-ubyte",
            shape=(TEST_COUNT, 28, 28),
            content_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            archive_sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            archive_bytes=1_648_877,
        ),
        IdxFile(
            name="t10k-labels-idx1-ubyte",
            shape=(TEST_COUNT,),
            content_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            archive_sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            archive_bytes=4_542,
        ),
    ),
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    system_directory=Path("/usr/share/datasets/mnist"),
)

# Checksums of the archives that Zalando Research published (their MD5s are in its README); Debian's
# package dataset-fashion-mnist has the same content, packed without names and dates.
_FASHION_MNIST = FileSet(
    name="fashion-mnist",
    torchvision_name="FashionMNIST",
    files=(
        IdxFile(
            name="train-images-idx3-ubyte",
            shape=(_LEARN_COUNT, 28, 28),
            content_sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            archive_sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            archive_bytes=26_421_880,
        ),
        IdxFile(
            name="train-labels-idx1-ubyte",
            shape=(_LEARN_COUNT,),
            content_sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            archive_sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            archive_bytes=29_515,
        ),
        IdxFile(
            name="t10k-images-idx3-ubyte",
            shape=(TEST_COUNT, 28, 28),
            content_sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            archive_sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            archive_bytes=4_422_102,
        ),
        IdxFile(
            name="t10k-labels-idx1-ubyte",
            shape=(TEST_COUNT,),
            content_sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            archive_sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            archive_bytes=5_148,
        ),
    ),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    system_directory=Path("/usr/share/datasets/fashion-mnist"),
)

FILE_SETS = {file_set.name: file_set for file_set in (_MNIST, _FASHION_MNIST)}
NAMES = (*FILE_SETS, SYNTHETIC)
SYNTHETIC_EXAMPLES = _MNIST.examples


def file_set(name: str) -> FileSet:
    """Return the data set of that name.

    Raises:
        DataError: there is none.
    """
    if name in FILE_SETS:
        return FILE_SETS[name]
    remedy = nearest(name, NAMES) or f"choose one of {', '.join(NAMES)}"
    raise DataError(f"no data set {name!r}", remedy=remedy)


def owner_of(content_sha256: str) -> str | None:
    """Return which set and file has this content, or None."""
    for known in FILE_SETS.values():
        for file in known.files:
            if file.content_sha256 == content_sha256:
                return f"{file.name} of {known.name}"
    return None
