"""A user's own arrays, and every way in which a file of them can be bad."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dnnbench.data import arrays
from dnnbench.data.load import load
from dnnbench.data.locate import locate, stored_files
from dnnbench.data.sets import ExampleShape
from dnnbench.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def good(
    *, image: tuple[int, ...] = (6, 5, 3), train: int = 20, classes: int = 4
) -> dict[str, Any]:
    random = np.random.default_rng(3)
    made = {}
    for part, count in (("train", train), ("test", 8)):
        made[f"{part}_images"] = random.integers(0, 256, (count, *image), np.uint8)
        made[f"{part}_labels"] = np.arange(count) % classes
    return made


def saved(directory: Path, given: dict[str, Any], name: str = "own.npz") -> Path:
    directory.mkdir(exist_ok=True)
    np.savez(directory / name, **given)
    return directory


def test_arrays_are_found_and_loaded_with_the_last_tenth_for_validation(tmp_path: Path) -> None:
    given = good()
    found = locate(f"directory:{saved(tmp_path / 'own', given)}")
    data = load(found.order)

    assert found.note is None
    assert found.examples == data.examples == ExampleShape((6, 5, 3), classes=4)
    assert found.order.train_examples == 18
    assert [len(part) for part in data[:6]] == [18, 18, 2, 2, 8, 8]
    learned = np.concatenate([data.train_images, data.validation_images])
    np.testing.assert_array_equal(learned, given["train_images"].reshape(20, -1))
    np.testing.assert_array_equal(data.test_labels, given["test_labels"])
    assert stored_files(found.order) == [tmp_path / "own" / "own.npz"]


def test_images_without_channels_and_validation_of_their_own(tmp_path: Path) -> None:
    given = good(image=(6, 5))
    given |= {"validation_images": given["test_images"], "validation_labels": given["test_labels"]}
    data = load(locate(f"directory:{saved(tmp_path, given)}").order)
    assert data.examples == ExampleShape((6, 5, 1), classes=4)
    assert [len(part) for part in data[:6:2]] == [20, 8, 8]


def test_the_same_values_have_the_same_digest_however_they_are_kept(tmp_path: Path) -> None:
    given = good()
    plain = locate(f"directory:{saved(tmp_path / 'plain', given)}").order
    other: dict[str, Any] = {name: np.asfortranarray(array) for name, array in given.items()}
    other["train_labels"] = given["train_labels"].astype(">u2")
    (tmp_path / "other").mkdir()
    np.savez_compressed(tmp_path / "other" / "x.npz", **other)
    again = locate(f"directory:{tmp_path / 'other'}").order
    assert again.digest == plain.digest
    assert all(map(np.array_equal, load(again)[:6], load(plain)[:6]))
    given["train_images"][0, 0, 0, 0] ^= 1
    changed = locate(f"directory:{saved(tmp_path / 'changed', given)}").order
    assert changed.digest != plain.digest
    with pytest.raises(DataError, match="restore its files, or start a new sweep"):
        load(type(plain)(plain.name, changed.directory, plain.digest))


def test_a_class_may_be_among_the_last_examples_alone(tmp_path: Path) -> None:
    given = good() | {"train_labels": np.arange(20) * 4 // 20}
    given = {name: array for name, array in given.items() if not name.startswith("validation")}
    assert locate(f"directory:{saved(tmp_path, given)}").examples.classes == 4


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"test_labels": None}, "there is no array test_labels"),
    "unknown": ({"train_image": np.zeros(3)}, "found 'train_image'; did you mean train_images?"),
    "half a validation": (
        {"validation_labels": np.zeros(3, int)},
        "there is no array validation_images",
    ),
    "float images": (
        {"train_images": np.zeros((20, 6, 5, 3))},
        "expected uint8 [n, height, width] or [n, height, width, channels], found float64 [20, 6,",
    ),
    "flat images": ({"train_images": np.zeros((20, 90), np.uint8)}, "found uint8 [20, 90]"),
    "float labels": (
        {"test_labels": np.zeros(8)},
        "test_labels: expected integers [n], found floa",
    ),
    "one-hot labels": ({"test_labels": np.zeros((8, 4), int)}, "found int64 [8, 4]"),
    "no images": ({"test_images": np.zeros((0, 6, 5, 3), np.uint8)}, "expected at least one value"),
    "other test images": (
        {"test_images": np.zeros((8, 5, 6, 3), np.uint8)},
        "expected test_images and test_labels of one length and images of [6, 5, 3], found",
    ),
    "fewer labels": (
        {"train_labels": np.arange(19) % 4},
        "expected train_images and train_labels of one length and images of [6, 5, 3], found [20,",
    ),
    "labels from 1": ({"train_labels": 1 + np.arange(20) % 4}, "4 different ones from 1 to 4"),
    "a class left out": ({"train_labels": np.arange(20) % 4 * 2}, "4 different ones from 0 to 6"),
    "negative labels": ({"train_labels": np.arange(20) % 4 - 1}, "from -1 to 2"),
    "one class": ({"train_labels": np.zeros(20, int)}, "of at least 2 classes, found 1 different"),
    "a class for tests alone": (
        {"test_labels": np.arange(8)},
        "expected test_labels from 0 to 3, the classes of train_labels, found 0 to 7",
    ),
    "objects": (
        {"train_labels": np.array([None] * 20)},
        "expected integers [n], found object [20]",
    ),
}


@pytest.mark.parametrize(("changes", "said"), BAD.values(), ids=BAD)
def test_arrays_that_do_not_fit_are_one_clear_line(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    given = {name: array for name, array in {**good(), **changes}.items() if array is not None}
    saved(tmp_path, given)
    with pytest.raises(DataError) as error:
        locate(f"directory:{tmp_path}")
    assert said in str(error.value)
    assert str(tmp_path / "own.npz") in (error.value.where or "")
    assert "\n" not in str(error.value)


def member(shape: str, content: bytes) -> bytes:
    """Return an array's file with any header and any content."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


DAMAGED = {
    "not a zip": (b"not a zip at all", "not a sound .npz file: File is not a zip file"),
    "empty": (b"", "not a sound .npz file"),
    "no array": ({"train_images": b"junk that is no array"}, "not a sound array"),
    "cut off": ({"train_images": member("(20, 6, 5)", bytes(599))}, "600 bytes, as its header"),
    "too long": ({"train_images": member("(20, 6, 5)", bytes(601))}, "found more"),
    "huge": ({"train_images": member("(10**6, 10**4, 1)", b"")}, "not a sound array"),
    "a bomb": ({"train_images": member("(1000000, 10000, 1)", b"")}, "at most 8 GB of arrays"),
    "negative": ({"train_images": member("(-1, -2, 3)", bytes(6))}, "expected at least one value"),
    "pickled": ({"train_images": pickle.dumps(print)}, "not a sound array"),
}


@pytest.mark.parametrize(("content", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_one_clear_line_and_nothing_large_is_read(
    tmp_path: Path, content: bytes | dict[str, bytes], said: str
) -> None:
    path = saved(tmp_path, good()) / "own.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as packed:
            for key in arrays.KEYS:
                packed.writestr(f"{key}.npy", content.get(key, b""))
    with pytest.raises(DataError) as error:
        locate(f"directory:{tmp_path}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path, good()) / "own.npz"
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a sound \.npz file: Bad CRC-32"):
        locate(f"directory:{tmp_path}")


def test_a_directory_that_has_not_one_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected one \.npz file in this directory, found none"):
        locate(f"directory:{tmp_path}")
    saved(tmp_path, good())
    with pytest.raises(DataError, match="found a file; check --dataset"):
        locate(f"directory:{tmp_path}/own.npz")
    saved(tmp_path, good(), "second.npz")
    with pytest.raises(DataError, match=r"found 2, among them own\.npz, second\.npz"):
        locate(f"directory:{tmp_path}")
    with pytest.raises(DataError, match="there is no such directory; check --dataset"):
        locate(f"directory:{tmp_path}/nosuch")
    pipes = tmp_path / "pipes"
    pipes.mkdir()
    os.mkfifo(pipes / "own.npz")
    with pytest.raises(DataError, match="expected a regular file"):
        locate(f"directory:{pipes}")


def test_arrays_of_numpys_longest_headers_are_read(tmp_path: Path) -> None:
    given = good()
    buffers = {}
    for key, array in given.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, version=(2, 0))
        buffers[key] = buffer.getvalue()
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as packed:
        for key, content in buffers.items():
            packed.writestr(f"{key}.npy", content)
    assert locate(f"directory:{tmp_path}").order.train_examples == 18
