"""The examples of a worker, and its steps in an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dnnbench.errors import ConfigError
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from dnnbench.trial.spec import TrialSpec

    Indices = np.ndarray[Any, np.dtype[np.int64]]


def worker_examples(spec: TrialSpec, index: int, examples: int) -> Indices:
    """Return the indices of the training examples that a worker is given.

    Raises:
        ConfigError: they do not fill one batch.
    """
    own = np.arange(examples)
    if spec.epoch_definition == "sharded":
        own = own[index :: spec.workers]
    if len(own) < spec.batch_size:
        raise ConfigError(
            f"a worker has {len(own)} examples, a batch needs {spec.batch_size}",
            where="[train] batch_size",
            remedy="use a smaller batch or fewer nodes",
        )
    return own


def steps_per_epoch(spec: TrialSpec, own: int, examples: int) -> int:
    """Return the steps in a worker's epoch: whole batches of its own examples, of all ``examples``.

    Shares differ by one example at most. Where all must take equally many steps, that number is the
    one for the smallest share. An epoch that is cut short has no more than it is cut to.
    """
    is_sharded = spec.epoch_definition == "sharded"
    if is_sharded and find_protocol(spec.protocol.name).equal_steps:
        own = examples // spec.workers
    whole = own // spec.batch_size
    return min(whole, spec.epoch_steps or whole)
