"""A model of your own: a wider network than the report's, with batch normalization."""

from __future__ import annotations

import keras


def wide_net(
    *, input_shape: tuple[int, ...], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build a network that returns one logit per class, without a softmax."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(256, kernel_regularizer=keras.regularizers.L2(l2)),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(classes),
        ]
    )
