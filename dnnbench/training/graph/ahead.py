"""Split a step's gradient: the part that needs no parameters is computed ahead of the pull.

While a worker waits for the parameter server, it can scale the next images and draw the next
dropout masks. Ahead of the pull, not of the update: nothing is read earlier than without it, so
losses and staleness stay the same. It takes a second function call per step, a twentieth of a
step's CPU time, and so pays only where the worker's core would otherwise be idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import tensorflow as tf

    Gradient = Callable[..., list[tf.Tensor]]


class Parts(NamedTuple):
    """The two parts of a function: ``then(*pulled, *ahead(*given))`` returns what it returns."""

    ahead: Gradient
    then: Gradient


def cut(function: Gradient, pulled: list[tf.TensorSpec], given: list[tf.TensorSpec]) -> Parts:
    """Cut ``function(*pulled, *given)`` into the part that needs nothing pulled, and the rest.

    Args:
        function: from tensors to a list of tensors; traced once.
        pulled: its first arguments.
        given: its other arguments.
    """
    import tensorflow as tf

    whole = tf.compat.v1.wrap_function(function, [*pulled, *given])
    arguments = whole.graph.inputs
    late_inputs, early_inputs = arguments[: len(pulled)], arguments[len(pulled) :]
    late = _reached(whole.graph, late_inputs)
    early = _reached(whole.graph, early_inputs) - late
    # Constants that both parts need are in neither, and are put into both.
    used = [tensor for operation in late for tensor in operation.inputs]
    crossing = {t.name: t for t in [*used, *whole.outputs] if t.op in early}
    ordered = [crossing[name] for name in sorted(crossing)]
    return Parts(
        ahead=whole.prune(feeds=early_inputs, fetches=ordered),
        then=whole.prune(feeds=[*late_inputs, *ordered], fetches=whole.outputs),
    )


def _reached(graph: tf.Graph, sources: Iterable[tf.Tensor]) -> set[tf.Operation]:
    """Return the operations that depend on one of these tensors, their own included."""
    reached = {tensor.op for tensor in sources}
    for operation in graph.get_operations():  # each comes after those it depends on
        inputs = {tensor.op for tensor in operation.inputs}
        if reached & (inputs | set(operation.control_inputs)):
            reached.add(operation)
    return reached
