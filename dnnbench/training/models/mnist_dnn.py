"""The 2017 report's network for MNIST: 784-64-64-10."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def mnist_dnn(
    *, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build 784-64-64-10 on flat images: tanh, L2 on the kernels, dropout after each hidden layer.

    Source: the 2017 report's "Experiment" section; it leaves ``l2`` and ``dropout`` open.
    """
    import keras
    import tensorflow as tf

    def penalty(kernel: Any) -> Any:
        # As keras.regularizers.L2 has it, but in one operation, and the derivative in another: its
        # sum of squares differentiates through a tensor of ones as large as the kernel.
        return 2 * l2 * tf.nn.l2_loss(kernel)

    model = keras.Sequential([keras.Input((math.prod(input_shape),))])
    for units in (64, 64):
        model.add(keras.layers.Dense(units, activation="tanh", kernel_regularizer=penalty))
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(classes, kernel_regularizer=penalty))
    return model
