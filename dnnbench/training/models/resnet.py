"""Residual networks for small images, as He et al. built them for CIFAR-10."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnnbench.training.models.penalty import l2_penalty

if TYPE_CHECKING:
    import keras

_MAPS = (16, 32, 64)
"""Of the three stages; each but the first halves height and width."""
_MOMENTUM = 0.9
"""Of the moving mean and variance. Keras' 0.99 forgets its start only after some hundred steps."""


def resnet_8(
    *, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build the network of one block per stage; see `_resnet`."""
    return _resnet(1, input_shape, classes, l2, dropout)


def resnet_20(
    *, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build the network of three blocks per stage, the smallest of the paper; see `_resnet`."""
    return _resnet(3, input_shape, classes, l2, dropout)


def _resnet(
    blocks: int, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
) -> keras.Model:
    """Build a network of ``6 * blocks + 2`` layers with weights.

    Source: He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016, section
    4.2: 3 x 3 convolutions with batch normalization, shortcuts without weights (option A), global
    average pooling; He's initial weights. The paper has no dropout; here it comes before the last
    layer, and a rate of 0 leaves it out. Its 4 pixels of padding and mirrored images are left out.
    """
    import keras

    penalty = l2_penalty(l2)

    def normalized(given: Any, maps: int, stride: int = 1) -> Any:
        convolution = keras.layers.Conv2D(
            maps,
            3,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=penalty,
        )
        return keras.layers.BatchNormalization(momentum=_MOMENTUM)(convolution(given))

    images = keras.Input(input_shape)
    hidden = keras.layers.ReLU()(normalized(images, _MAPS[0]))
    for maps in _MAPS:
        for _ in range(blocks):
            grows = maps != hidden.shape[-1]
            inner = keras.layers.ReLU()(normalized(hidden, maps, stride=2 if grows else 1))
            shortcut = _smaller(hidden, maps) if grows else hidden
            hidden = keras.layers.ReLU()(keras.layers.Add()([normalized(inner, maps), shortcut]))
    pooled = keras.layers.Dropout(dropout)(keras.layers.GlobalAveragePooling2D()(hidden))
    dense = keras.layers.Dense(classes, kernel_initializer="he_normal", kernel_regularizer=penalty)
    return keras.Model(images, dense(pooled))


def _smaller(images: Any, maps: int) -> Any:
    """Take every second pixel, and add maps of zeros on both sides up to ``maps``."""
    import keras

    missing = maps - images.shape[-1]
    sides = (missing // 2, missing - missing // 2)
    halved = images[:, ::2, ::2]
    return keras.ops.pad(halved, [(0, 0), (0, 0), (0, 0), sides])
