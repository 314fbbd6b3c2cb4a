"""Models by name: functions that build a Keras model ending in logits.

To add one, write such a function and enter it in `dnnbench.trial.models`, or name it in
dnnbench.toml as ``module:function``: ``[train] model = "my_package.models:wide_net"``.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from dnnbench.errors import ConfigError, DnnbenchError, nearest
from dnnbench.trial.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras

    from dnnbench.data.sets import ExampleShape
    from dnnbench.trial.spec import ModelSpec

_WHERE = "[train] model"
_KERAS_PREAMBLE = re.compile("Exception encountered when calling |.*Error encountered:$")
_BOLD = re.compile(r"\x1b\[\d*m")


class ModelBuilder(Protocol):
    """A function from a setting to a model whose output is logits [batch, classes].

    The first two arguments are given to a function that names them. The model's input is flat,
    [batch, height x width x channels], or an image, [batch, height, width, channels], of 0 to 1.
    """

    def __call__(
        self, *, input_shape: tuple[int, int, int], classes: int, l2: float, dropout: float
    ) -> keras.Model:
        """Build a new, untrained model; its initial weights follow Keras' global seed.

        Args:
            input_shape: height, width and channels of an image of the data set.
            classes: of the data set.
            l2: strength of the regularization.
            dropout: rate.
        """


def find_builder(name: str) -> ModelBuilder:
    """Import the builder of a model, ours by its name or the user's ``module:function``.

    Raises:
        ConfigError: no such name, module or function.
    """
    module_name, colon, function_name = MODELS.get(name, name).partition(":")
    if not colon:
        raise ConfigError(
            f"expected one of {', '.join(MODELS)} or module:function, found {name!r}",
            where=_WHERE,
            remedy=nearest(name, MODELS),
        )
    importlib.invalidate_caches()  # it may have come here after this process had looked for modules
    try:
        with _leaving_no_bytecode():
            builder: ModelBuilder = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"cannot import {name!r}: {error}",
            where=_WHERE,
            remedy="install the module on this host or correct the name",
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"cannot import {name!r}: {_in_words(error)}", where=_WHERE) from error
    if not callable(builder):
        problem = f"expected {name!r} to be a function, found {type(builder).__name__}"
        raise ConfigError(problem, where=_WHERE)
    return builder


@contextmanager
def _leaving_no_bytecode() -> Iterator[None]:
    """Write nothing beside the user's modules while they are imported."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def build_model(spec: ModelSpec, seed: int, examples: ExampleShape) -> keras.Model:
    """Build the model with initial weights that depend on ``seed`` alone.

    Starts TensorFlow's eager runtime: never call it in a process that forks afterward.

    Raises:
        ConfigError: no such model, it cannot be built, or it does not fit the data.
    """
    import keras

    builder = find_builder(spec.name)
    keras.utils.set_random_seed(seed % 2**32)
    arguments: dict[str, Any] = {"l2": spec.l2, "dropout": spec.dropout}
    arguments |= _named(builder, {"input_shape": examples.image, "classes": examples.classes})
    _check_signature(spec.name, builder, arguments)
    try:
        model = builder(**arguments)
    except DnnbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise refusal(spec.name, error) from error
    if not isinstance(model, keras.Model):
        problem = f"expected {spec.name} to return a Keras model, found {type(model).__name__}"
        raise ConfigError(problem, where=_WHERE)
    _check_fit(spec.name, model, examples)
    if spec.name not in MODELS:
        _check_outputs(spec.name, model, examples)
    return model


def refusal(name: str, error: BaseException) -> ConfigError:
    """Return the one-line error for an exception that a model has raised."""
    remedy = None
    if "EagerTensor" in str(error):  # whose message speaks of Python functions
        problem = f"{name} uses a tensor that was made outside its layers' calls"
        remedy = "make it a weight, or make it in the layer's call"
    else:
        problem = f"{name} raised {_in_words(error)}"
    return ConfigError(problem, where=_WHERE, remedy=remedy)


def _in_words(error: BaseException) -> str:
    """Return an error's name and the first line of its text, without what Keras puts around it."""
    lines = [_BOLD.sub("", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not _KERAS_PREAMBLE.match(line)]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _check_signature(name: str, builder: ModelBuilder, arguments: dict[str, Any]) -> None:
    """Refuse a function that cannot be called with what a builder gets."""
    try:
        inspect.signature(builder).bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"cannot call {name} with {', '.join(arguments)}: {error}",
            where=_WHERE,
            remedy="write it as `def model(*, input_shape, classes, l2, dropout):`",
        ) from None


def _named(function: ModelBuilder, given: dict[str, Any]) -> dict[str, Any]:
    """Return those of the arguments that the function takes."""
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in given.items() if takes_all or name in parameters}


def _check_fit(name: str, model: keras.Model, examples: ExampleShape) -> None:
    """Refuse a model whose inputs or outputs do not fit the data, where the model declares them."""
    flat, image, logits = (examples.values,), examples.image, (examples.classes,)
    taken, given = layer_shape(model, "input"), layer_shape(model, "output")
    problem = None
    if taken not in (None, flat, image):
        problem = f"inputs of shape {flat} or {image}, found {taken}"
    elif given not in (None, logits):
        problem = f"outputs of shape {logits}, one for each class, found {given}"
    if problem:
        raise ConfigError(f"expected {name} to have {problem}", where=_WHERE)


def _check_outputs(name: str, model: keras.Model, examples: ExampleShape) -> None:
    """Refuse a model that does not answer two random images with logits, or cannot be trained."""
    import keras

    shape = examples.image if layer_shape(model, "input") == examples.image else (examples.values,)
    images = np.random.default_rng(0).random((2, *shape), np.float32)
    try:
        answers = np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))
    except (Exception, SystemExit) as error:
        raise refusal(name, error) from error
    problem = remedy = None
    if answers.shape != (2, examples.classes):
        problem = f"outputs of shape ({examples.classes},), one for each class, found "
        problem += f"{answers.shape[1:]}"
    elif np.all(answers >= 0) and np.allclose(answers.sum(axis=1), 1, atol=1e-4):
        problem = "logits as outputs, found ones that sum to 1, as after softmax"
        remedy = "leave out the last activation"
    elif not model.trainable_variables:
        problem = "weights to train, found none"
    if problem:
        raise ConfigError(f"expected {name} to have {problem}", where=_WHERE, remedy=remedy)


def layer_shape(model: keras.Model, end: Literal["input", "output"]) -> tuple[int, ...] | None:
    """Return the shape of a model's input or output without the batch; None if it declares none."""
    shape = getattr(model, f"{end}_shape", None)
    return tuple(shape[1:]) if isinstance(shape, tuple) else None
