"""The L2 penalty of the models that come with the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def l2_penalty(strength: float) -> Callable[[Any], Any]:
    """Return a regularizer, ``strength`` times the sum of a kernel's squares.

    As keras.regularizers.L2 has it, but in one operation, and the derivative in another: its sum
    of squares differentiates through a tensor of ones as large as the kernel.
    """
    import tensorflow as tf

    def penalty(kernel: Any) -> Any:
        return 2 * strength * tf.nn.l2_loss(kernel)

    return penalty
