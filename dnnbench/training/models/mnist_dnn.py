"""The 2017 report's network for MNIST: 784-64-64-10."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dnnbench.training.models.penalty import l2_penalty

if TYPE_CHECKING:
    import keras


def mnist_dnn(
    *, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build 784-64-64-10 on flat images: tanh, L2 on the kernels, dropout after each hidden layer.

    Source: the 2017 report's "Experiment" section; it leaves ``l2`` and ``dropout`` open.
    """
    import keras

    penalty = l2_penalty(l2)
    model = keras.Sequential([keras.Input((math.prod(input_shape),))])
    for units in (64, 64):
        model.add(keras.layers.Dense(units, activation="tanh", kernel_regularizer=penalty))
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(classes, kernel_regularizer=penalty))
    return model
