"""The published data sets: checksums, and where to get them."""

from __future__ import annotations

from pathlib import Path

from dnnbench.data.sets import Archive, ExampleShape, FileSet, GeneratedSet, IdxFile, PublishedFile

TRAIN_COUNT, VALIDATION_COUNT, TEST_COUNT = 55_000, 5_000, 10_000
"""Of MNIST and the like."""
LEARN_COUNT = TRAIN_COUNT + VALIDATION_COUNT
"""Examples of the published "train" files."""
_SMALL = ExampleShape((28, 28, 1), classes=10)
_COLOR = ExampleShape((32, 32, 3), classes=10)

SYNTHETIC_MNIST = GeneratedSet(
    name="synthetic-mnist",
    examples=_SMALL,
    train_count=TRAIN_COUNT,
    validation_count=VALIDATION_COUNT,
    test_count=TEST_COUNT,
    digest="78ebf6f4730ae69ace03fc1a99aa3f4a7a1045b9557c9044693487d996d515b1",
)
SYNTHETIC_CIFAR_10 = GeneratedSet(
    name="synthetic-cifar-10",
    examples=_COLOR,
    train_count=45_000,
    validation_count=5_000,
    test_count=10_000,
    digest="7076d5407a74cdf1b56af9351cc86a2d3168853d4003cb900bf1cc37e4b41429",
)

# Archive checksums: as several public loaders record them for the files that yann.lecun.com
# published, torch-rb among them. Content checksums: computed from the data.
MNIST = FileSet(
    name="mnist",
    title="MNIST",
    folders=("MNIST/raw",),
    files=(
        IdxFile(
            name="train-images-idx3-ubyte",
            shape=(LEARN_COUNT, 28, 28),
            content_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            archive_sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            archive_bytes=9_912_422,
        ),
        IdxFile(
            name="train-labels-idx1-ubyte",
            shape=(LEARN_COUNT,),
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
    image=_SMALL.image,
    stand_in=SYNTHETIC_MNIST.name,
    system_directory=Path("/usr/share/datasets/mnist"),
)

# Checksums of the archives that Zalando Research published (their MD5s are in its README); Debian's
# package dataset-fashion-mnist has the same content, packed without names and dates.
FASHION_MNIST = FileSet(
    name="fashion-mnist",
    title="Fashion-MNIST",
    folders=("FashionMNIST/raw",),
    files=(
        IdxFile(
            name="train-images-idx3-ubyte",
            shape=(LEARN_COUNT, 28, 28),
            content_sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            archive_sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            archive_bytes=26_421_880,
        ),
        IdxFile(
            name="train-labels-idx1-ubyte",
            shape=(LEARN_COUNT,),
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
    image=_SMALL.image,
    stand_in=SYNTHETIC_MNIST.name,
    system_directory=Path("/usr/share/datasets/fashion-mnist"),
)

# Checksum of the archive: as several public loaders record it beside the MD5 of the authors' page.
# Checksums of the contents: as torchvision for Ruby records them.
CIFAR_10 = FileSet(
    name="cifar-10",
    title="CIFAR-10",
    folders=("cifar-10-batches-bin",),
    files=tuple(
        PublishedFile(name=name, shape=(10_000, 1 + 3 * 32 * 32), content_sha256=checksum)
        for name, checksum in (
            (
                "data_batch_1.bin",
                "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            ),
            (
                "data_batch_2.bin",
                "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            ),
            (
                "data_batch_3.bin",
                "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            ),
            (
                "data_batch_4.bin",
                "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            ),
            (
                "data_batch_5.bin",
                "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            ),
            (
                "test_batch.bin",
                "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
            ),
        )
    ),
    archive=Archive(
        name="cifar-10-binary.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        size_bytes=170_052_171,
    ),
    mirrors=(
        "https://www.cs.toronto.edu/~kriz/",
        "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
    ),
    layout="cifar",
    image=_COLOR.image,
    stand_in=SYNTHETIC_CIFAR_10.name,
)
