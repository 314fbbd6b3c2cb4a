"""A model as a user would add one: with a state that training moves, and a line that it prints."""

from __future__ import annotations

import keras


def normalized_net(*, l2: float, dropout: float) -> keras.Model:
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
