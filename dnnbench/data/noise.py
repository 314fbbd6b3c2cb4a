"""Label noise: a share of the training labels replaced at random, the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

SEED = 2018
"""Of the noise alone, so that every trial and every host trains on the same labels."""


def with_noise(labels: npt.NDArray[Any], classes: int, share: float) -> npt.NDArray[Any]:
    """Return labels of which ``round(share * n)`` are each of another class, every one as likely.

    From the raw output of the generator, which does not change with NumPy's versions.
    """
    source = np.random.PCG64(SEED)
    count = round(share * len(labels))
    changed = np.argsort(source.random_raw(len(labels)), kind="stable")[:count]
    steps = source.random_raw(count) % np.uint64(classes - 1) + np.uint64(1)
    noisy: npt.NDArray[Any] = labels.copy()
    noisy[changed] = (labels[changed].astype(np.int64) + steps.astype(np.int64)) % classes
    noisy.setflags(write=False)
    return noisy
