from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dnnbench.data import catalog, synthetic
from dnnbench.data.load import DataSet, load
from dnnbench.data.locate import locate
from dnnbench.data.sets import ExampleShape, GeneratedSet
from dnnbench.errors import DataError
from dnnbench.trial.spec import DataSpec

SHAPE = ExampleShape((28, 28, 1), classes=10)
COLOR = ExampleShape((32, 32, 3), classes=10)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load(locate("synthetic-mnist", explicit=True).order)


def test_the_set_has_the_shapes_and_types_of_mnist(data: DataSet) -> None:
    assert [part.shape for part in data[:6:2]] == [(55_000, 784), (5_000, 784), (10_000, 784)]
    assert [part.shape for part in data[1:6:2]] == [(55_000,), (5_000,), (10_000,)]
    assert {str(part.dtype) for part in data[:6]} == {"uint8"}
    assert not any(part.flags.writeable for part in data[:6])
    assert data.examples == SHAPE
    counts = np.bincount(data.train_labels)
    assert len(counts) == 10
    assert counts.min() > 5_000


@pytest.mark.parametrize("wanted", catalog.GENERATED.values(), ids=catalog.GENERATED)
def test_it_is_the_same_on_every_machine(wanted: GeneratedSet) -> None:
    # Fails if the recipe, or what NumPy makes of it, changes: then results are not comparable.
    generated = synthetic.generate(wanted.learn_count + wanted.test_count, wanted.examples)
    assert synthetic.digest(*generated) == wanted.digest


def test_another_seed_makes_another_set() -> None:
    first, second = (synthetic.generate(100, SHAPE, seed=seed) for seed in (1, 2))
    assert synthetic.digest(*first) != synthetic.digest(*second)


def test_color_images_have_other_values_in_each_channel() -> None:
    images, labels = synthetic.generate(500, COLOR)
    assert images.shape == (500, 3072)
    red, green, _ = images.reshape(-1, 32, 32, 3).transpose(3, 0, 1, 2)
    assert len(np.unique(labels)) == 10
    assert not np.array_equal(red, green)
    assert not images.reshape(-1, 32, 32, 3)[:, [0, 1, 30, 31]].any()  # the ground stays black


@pytest.mark.parametrize("name", catalog.FILE_SETS)
def test_every_published_set_has_a_generated_one_of_its_shape(name: str) -> None:
    wanted = catalog.FILE_SETS[name]
    stand_in = catalog.GENERATED[wanted.stand_in]
    assert stand_in.examples == wanted.examples
    assert stand_in.train_count == wanted.train_count


def test_an_order_for_another_version_of_it_is_refused() -> None:
    with pytest.raises(DataError, match="same version of dnnbench"):
        load(DataSpec("synthetic-mnist", None, "0" * 64))


def test_no_test_image_is_among_the_training_images(data: DataSet) -> None:
    seen = {image.tobytes() for image in data.train_images}
    assert not any(image.tobytes() in seen for image in data.test_images[:2_000])


def test_a_small_network_learns_it_but_not_at_once_and_not_fully(data: DataSet) -> None:
    accuracies = train_64_64_tanh(data, epochs=5)
    assert 0.80 < accuracies[0] < 0.94
    assert accuracies[0] + 0.02 < accuracies[-1]
    assert 0.95 < accuracies[-1] < 0.99


def train_64_64_tanh(data: DataSet, epochs: int) -> list[float]:
    """Train 784-64-64-10 by plain SGD (rate 0.1, batch 100); return test accuracy by epoch."""
    random = np.random.default_rng(0)
    sizes = (784, 64, 64, 10)
    kernels = [
        (random.uniform(-1, 1, pair) * np.sqrt(6 / sum(pair))).astype(np.float32)
        for pair in pairwise(sizes)
    ]
    biases = [np.zeros(size, np.float32) for size in sizes[1:]]

    def forward(images: np.ndarray) -> list[np.ndarray]:
        layers = [images.astype(np.float32) / 255]
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            layers.append(np.tanh(layers[-1] @ kernel + bias))
        return [*layers, layers[-1] @ kernels[-1] + biases[-1]]

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        *layers, logits = forward(images)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        for index in (2, 1, 0):
            below = (error @ kernels[index].T) * (1 - layers[index] ** 2) if index else None
            kernels[index] -= 0.1 * layers[index].T @ error
            biases[index] -= 0.1 * error.sum(axis=0)
            error = below

    accuracies = []
    for _ in range(epochs):
        for batch in random.permutation(len(data.train_images)).reshape(-1, 100):
            step(data.train_images[batch], data.train_labels[batch])
        guesses = forward(data.test_images)[-1].argmax(axis=1)
        accuracies.append(float((guesses == data.test_labels).mean()))
    return accuracies
