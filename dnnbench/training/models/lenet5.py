"""LeNet-5, the first well-known convolutional network, in its usual modern form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError
from dnnbench.training.models.penalty import l2_penalty

if TYPE_CHECKING:
    import keras

_SIDE = 32
"""Of the images that LeNet-5 was made for; MNIST's 28 are padded to it."""
_SMALLEST_SIDE = 12
"""Of which the second pooling leaves a pixel."""


def lenet5(
    *, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build C6-P-C16-P-120-84: L2 on the kernels, dropout after each hidden dense layer.

    Source: LeCun, Bottou, Bengio, Haffner, *Gradient-Based Learning Applied to Document
    Recognition*, Proc. IEEE 1998, section II.B. The modern form differs in this: ReLU in place of
    tanh; maximum pooling without weights in place of trained subsampling; each map of C3 sees all
    six of S2, not a part of them; one logit for each class in place of radial basis functions.

    Raises:
        ConfigError: the images are too small.
    """
    import keras

    side = min(input_shape[:2])
    if side < _SMALLEST_SIDE:
        raise ConfigError(
            f"expected images of at least {_SMALLEST_SIDE} x {_SMALLEST_SIDE} pixels for lenet-5, "
            f"found {input_shape[0]} x {input_shape[1]}",
            where="[train] model",
        )
    penalty = l2_penalty(l2)
    padding = "same" if side < _SIDE else "valid"  # of 2 pixels on each side
    model = keras.Sequential([keras.Input(input_shape)])
    for maps, edge in ((6, padding), (16, "valid")):
        model.add(
            keras.layers.Conv2D(
                maps, 5, padding=edge, activation="relu", kernel_regularizer=penalty
            )
        )
        model.add(keras.layers.MaxPooling2D(2))
    model.add(keras.layers.Flatten())
    for units in (120, 84):
        model.add(keras.layers.Dense(units, activation="relu", kernel_regularizer=penalty))
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(classes, kernel_regularizer=penalty))
    return model
