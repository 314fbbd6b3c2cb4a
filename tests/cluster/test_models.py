"""The models of the table: built by Keras, against figures counted by hand; and trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.tensorflow_child import in_child

from dnnbench.data.sets import ExampleShape
from dnnbench.errors import ConfigError
from dnnbench.training.models.registry import build_model
from dnnbench.training.models.resnet import _smaller
from dnnbench.trial.models import MODELS
from dnnbench.trial.spec import ModelSpec

GRAY, COLOR = (28, 28, 1), (32, 32, 3)


def resnet_parameters(blocks: int, channels: int) -> int:
    """Count the weights of convolutions, scales and offsets, and the last layer."""
    layers = [(channels, 16)]
    for before, maps in ((16, 16), (16, 32), (32, 64)):
        layers += [(before, maps), *[(maps, maps)] * (2 * blocks - 1)]
    return sum(9 * a * b + 2 * b for a, b in layers) + 64 * 10 + 10


def lenet_parameters(channels: int) -> int:
    """Count kernels and biases; the 16 maps of 5 x 5 are the 400 values that the paper has."""
    layers = [(25 * channels, 6), (25 * 6, 16), (400, 120), (120, 84), (84, 10)]
    return sum((before + 1) * after for before, after in layers)


PARAMETERS = {
    ("mnist-dnn", GRAY): 784 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10,
    ("lenet-5", GRAY): lenet_parameters(1),
    ("lenet-5", COLOR): lenet_parameters(3),
    ("resnet-8", COLOR): resnet_parameters(1, 3),
    ("resnet-20", COLOR): resnet_parameters(3, 3),
}


def built(name: str, image: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the numbers of trainable parameters, of kernels, and of moving means and variances."""
    model = build_model(ModelSpec(name, l2=1e-4), 1, ExampleShape(image, classes=10))
    trainable, states = model.trainable_variables, model.non_trainable_variables
    parameters = sum(int(np.prod(v.shape)) for v in trainable)
    kernels = [v for v in trainable if v.name == "kernel"]
    return parameters, len(kernels), sum(v.name.startswith("moving_") for v in states)


@pytest.mark.parametrize(("name", "image"), PARAMETERS)
def test_a_model_has_the_weights_of_its_source(name: str, image: tuple[int, int, int]) -> None:
    layers = {"mnist-dnn": 3, "lenet-5": 5, "resnet-8": 8, "resnet-20": 20}[name]
    normalized = layers - 1 if name.startswith("resnet") else 0
    expected = PARAMETERS[name, image], layers, 2 * normalized
    assert in_child(built, name, image) == expected


def test_every_model_of_the_table_is_among_them() -> None:
    assert {name for name, _ in PARAMETERS} == set(MODELS)


def shortcut() -> tuple[Any, Any]:
    images = np.arange(2 * 4 * 4 * 2, dtype=np.float32).reshape(2, 4, 4, 2)
    return images, np.asarray(_smaller(images, 5))


def test_a_shortcut_halves_the_image_and_adds_maps_of_zeros() -> None:
    images, smaller = in_child(shortcut)
    assert smaller.shape == (2, 2, 2, 5)
    np.testing.assert_array_equal(smaller[..., 1:3], images[:, ::2, ::2])
    assert not smaller[..., [0, 3, 4]].any()


def test_lenet_refuses_images_of_which_nothing_would_be_left() -> None:
    with pytest.raises(ConfigError, match=r"at least 12 x 12 pixels for lenet-5, found 8 x 30"):
        in_child(built, "lenet-5", (8, 30, 1))
    assert in_child(built, "lenet-5", (12, 12, 1))[1] == 5
