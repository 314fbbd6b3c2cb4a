"""Generated data in the shapes of published sets; a small network learns them, but not at once.

Every class has a few shapes; in color, each channel of one is drawn apart. An image is a shape of
its class, moved by a few pixels, with a shape of another class shining through, and speckled. The
second shape keeps the accuracy below 100 %; the shapes and places take some training.

Bit for bit the same on every machine: the raw output of NumPy's bit generators does not change with
its versions (that of its distributions may), and all arithmetic is on integers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from dnnbench.data.sets import ExampleShape

    Bytes = npt.NDArray[np.uint8]

SEED = 1998
SHAPES_A_CLASS = 4
MARGIN = 4  # pixels around the shape in an image, as around MNIST's digits
MAX_SHIFT = 2  # pixels, in either direction
MAX_SECOND = 112  # of 256: largest share of the second shape
INK_PERCENT = 60  # of the shape's square
_CHUNK = 1000  # images at a time, so that the intermediate arrays stay in the processor's cache


def generate(count: int, examples: ExampleShape, seed: int = SEED) -> tuple[Bytes, Bytes]:
    """Return flat images ``[count, values]`` and their labels ``[count]``, read-only."""
    source = np.random.PCG64(seed)
    shapes = _shapes(source, examples)  # [class, variant, values]
    classes, variants, values = shapes.shape
    flat = shapes.reshape(-1, values)

    labels = _below(source, classes, count)
    others = (labels + 1 + _below(source, classes - 1, count)) % classes
    first = labels * variants + _below(source, variants, count)
    second = others * variants + _below(source, variants, count)
    share = _below(source, MAX_SECOND + 1, count).astype(np.uint16)[:, None]

    images = np.empty((count, values), np.uint8)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        mixed = flat[first[part]] * (256 - share[part]) + flat[second[part]] * share[part]
        ink = (mixed >> 8).astype(np.uint8)
        speckle = _raw_bytes(source, ink.size).reshape(ink.shape) >> 1
        images[part] = ink - np.minimum(ink, speckle)  # never below 0: the ground stays black
    small_labels: Bytes = labels.astype(np.uint8)
    images.setflags(write=False)
    small_labels.setflags(write=False)
    return images, small_labels


def digest(images: Bytes, labels: Bytes) -> str:
    """Return the SHA-256 over the images' bytes and then the labels'."""
    content = hashlib.sha256(images.data)
    content.update(labels.data)
    return content.hexdigest()


def _shapes(source: np.random.PCG64, examples: ExampleShape) -> Bytes:
    """Draw every class's shapes at every place, ``[class, shape x place, values]``."""
    side, _, channels = examples.image  # an image is square
    shape_side = side - 2 * MARGIN
    count = examples.classes * SHAPES_A_CLASS * channels
    field = _raw_bytes(source, count * shape_side**2).astype(np.int64)
    field = field.reshape(count, shape_side, shape_side)
    for _ in range(3):  # neighbors added up three times: close to a Gaussian blur
        for axis in (1, 2):
            field = sum((np.roll(field, step, axis) for step in (-2, -1, 1, 2)), start=field)
    flat = field.reshape(count, -1)
    paper = np.sort(flat, axis=1)[:, -(shape_side**2 * INK_PERCENT // 100), None]
    darkest = flat.max(axis=1, keepdims=True)
    ink = np.minimum(np.maximum(flat - paper, 0) * 510 // (darkest - paper), 255)
    drawn = ink.astype(np.uint8).reshape(-1, channels, shape_side, shape_side)

    framed = np.pad(drawn.transpose(0, 2, 3, 1), ((0, 0), *[(MARGIN, MARGIN)] * 2, (0, 0)))
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    places = [np.roll(framed, (down, right), (1, 2)) for down in shifts for right in shifts]
    return np.stack(places, axis=1).reshape(examples.classes, -1, examples.values)


def _raw_bytes(source: np.random.PCG64, count: int) -> Bytes:
    raw: npt.NDArray[np.uint64] = source.random_raw(-(-count // 8))
    return raw.astype("<u8", copy=False).view(np.uint8)[:count]


def _below(source: np.random.PCG64, limit: int, count: int) -> npt.NDArray[np.int64]:
    """Draw from 0 to ``limit - 1``; the bias, ``limit`` / 2^64, is of no account."""
    raw: npt.NDArray[np.uint64] = source.random_raw(count)
    numbers: npt.NDArray[np.int64] = (raw % np.uint64(limit)).astype(np.int64)
    return numbers
