"""Models that cannot be trained, each in its own way; and some that only look so."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import keras
import tensorflow as tf

layers = keras.layers


def net(*more: Any, units: int = 10, **last: Any) -> keras.Model:
    return keras.Sequential(
        [keras.Input((784,)), layers.Dense(8), *more, layers.Dense(units, **last)]
    )


def seven(**_: Any) -> keras.Model:
    return net(units=7)


def nothing(**_: Any) -> None: ...


def a_list(**_: Any) -> list[int]:
    return [1]


def raising(**_: Any) -> keras.Model:
    raise ValueError("two lines\nof text")


def leaving(**_: Any) -> keras.Model:
    sys.exit("no license")


def ended(**_: Any) -> keras.Model:
    os._exit(9)


def endless(**_: Any) -> keras.Model:
    time.sleep(600)
    return net()


def softmax(**_: Any) -> keras.Model:
    return net(activation="softmax")


def without_weights(**_: Any) -> keras.Model:
    return keras.Sequential([keras.Input((784,)), layers.Lambda(lambda images: images[:, :10])])


def strange_arguments(*, depth: int) -> keras.Model:
    del depth
    return net()


def without_settings() -> keras.Model:
    return net()


class Raising(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A layer whose error Keras puts between a preamble and its arguments."""

    def call(self, given: Any) -> Any:
        if tf.executing_eagerly():
            raise ValueError("the layer's own words\nand more")
        return given


def in_a_layer(**_: Any) -> keras.Model:
    return net(Raising())


class Unused(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A layer with a weight that it does not use."""

    def build(self, _shape: Any) -> None:
        self.scale = self.add_weight(shape=(3,), name="scale")

    def call(self, given: Any) -> Any:
        return given


def unused(**_: Any) -> keras.Model:
    return net(Unused())


class Capturing(keras.layers.Layer):  # type: ignore[misc]
    """A layer that keeps a tensor from when it was built."""

    def build(self, _shape: Any) -> None:
        with tf.init_scope():
            self.kept = tf.random.normal((8,))

    def call(self, given: Any) -> Any:
        return given * self.kept


def capturing(**_: Any) -> keras.Model:
    return net(Capturing())


class Subclass(keras.Model):  # type: ignore[misc]
    """A model that does not tell its shapes before it is called."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.first = layers.Dense(8)
        self.last = layers.Dense(units)

    def call(self, images: Any, training: bool = False) -> Any:
        del training
        return self.last(self.first(images))


def subclass(**_: Any) -> keras.Model:
    return Subclass(10)


def subclass_of_seven(**_: Any) -> keras.Model:
    return Subclass(7)


def prelu(**_: Any) -> keras.Model:
    return net(layers.PReLU(), layers.Dense(8, activation=layers.PReLU()))


def zeros(**_: Any) -> keras.Model:
    return net(kernel_initializer="zeros")


def printing(**_: Any) -> keras.Model:
    print('{"problem": "printed"}')  # noqa: T201 - what the test is about
    os.write(1, b"and more")
    return net()
