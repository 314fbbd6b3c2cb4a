"""Models as a user would write them."""

from __future__ import annotations

import keras


def normalized_net(*, l2: float, dropout: float) -> keras.Model:
    """Build a model with a state that training moves, and print a line."""
    print("building my own model")  # noqa: T201 - what the test is about
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(l2)),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(10),
        ]
    )


def image_net(
    *, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build a model that takes images, of whatever data set."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(
                4, 5, strides=4, activation="relu", kernel_regularizer=keras.regularizers.L2(l2)
            ),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(classes),
        ]
    )


def small_images_net(*, classes: int, l2: float, dropout: float) -> keras.Model:
    """Build a model that takes smaller images than the data are."""
    return image_net(input_shape=(14, 14, 1), classes=classes, l2=l2, dropout=dropout)


def binary_net(*, input_shape: tuple[int, int, int], l2: float, dropout: float) -> keras.Model:
    """Build a model of fewer classes than the data have."""
    return image_net(input_shape=input_shape, classes=2, l2=l2, dropout=dropout)
