"""Models by name: functions that build a Keras model ending in logits.

To add one, write such a function and register it here and in
``dnnbench.trial.spec.MODEL_NAMES``, or name it in dnnbench.toml as ``module:function``:
``[train] model = "my_package.models:wide_net"``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from dnnbench.errors import ConfigError
from dnnbench.training.models.mnist_dnn import mnist_dnn

if TYPE_CHECKING:
    import keras

    from dnnbench.trial.spec import ModelSpec


class ModelBuilder(Protocol):
    """A function from regularization strengths to a model [batch, 784] → logits [batch, 10]."""

    def __call__(self, *, l2: float, dropout: float) -> keras.Model:
        """Build a new, untrained model; its initial weights follow Keras' global seed."""


MODELS: dict[str, ModelBuilder] = {"mnist-dnn": mnist_dnn}


def find_builder(name: str) -> ModelBuilder:
    """Return the registered builder, or import it from ``module:function``.

    Raises:
        ConfigError: no such name, module or function.
    """
    if name in MODELS:
        return MODELS[name]
    module_name, colon, function_name = name.partition(":")
    if not colon:
        raise ConfigError(
            f"expected one of {', '.join(MODELS)} or module:function, found {name!r}",
            where="[train] model",
        )
    importlib.invalidate_caches()  # it may have come here after this process had looked for modules
    try:
        builder: ModelBuilder = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"cannot import {name!r}: {error}",
            where="[train] model",
            remedy="install the module on this host or correct the name",
        ) from error
    return builder


def build_model(order: ModelSpec, seed: int) -> keras.Model:
    """Build the model with initial weights that depend on ``seed`` alone.

    Starts TensorFlow's eager runtime: never call it in a process that forks afterwards.
    """
    import keras

    keras.utils.set_random_seed(seed % 2**32)
    return find_builder(order.name)(l2=order.l2, dropout=order.dropout)
