"""Evaluation: the accuracy of stored parameters, outside the timed part."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dnnbench.trial.outcome import EvaluationRecord

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.prepare import PreparedTrial

EVALUATION_BATCH = 5000


def evaluate(
    session: tf.compat.v1.Session, prepared: PreparedTrial, epoch: int | None, parameters: Any
) -> EvaluationRecord:
    """Return the accuracy of these parameters, [all shards with their counts].

    The model's states are the ones in the session.
    """
    step, data = prepared.step, prepared.data

    def accuracy(images: Any, labels: Any) -> float:
        correct = 0
        for first in range(0, len(labels), EVALUATION_BATCH):
            batch = slice(first, first + EVALUATION_BATCH)
            feed = {
                step.evaluation_parameters: parameters,
                step.evaluation_images: images[batch],
                step.evaluation_labels: labels[batch],
            }
            correct += int(session.run(step.correct, feed))
        return correct / len(labels)

    return EvaluationRecord(
        epoch=epoch,
        global_step=round(float(parameters[step.shard_sizes[0]])),
        validation_accuracy=accuracy(data.validation_images, data.validation_labels),
        test_accuracy=accuracy(data.test_images, data.test_labels),
        parameters_sha256=hashlib.sha256(parameters.tobytes()).hexdigest(),
        chance_accuracy=chance_accuracy(data.test_labels),
    )


def chance_accuracy(labels: Any) -> float:
    """Return the accuracy below which a model is no better than one that always gives one class.

    That is the share of the most frequent class, plus three standard errors of a share of that
    many examples: for MNIST's 10,000 test images 11.35 % + 0.95 %.
    """
    share = float(np.bincount(labels).max()) / len(labels)
    return min(share + 3.0 * math.sqrt(share * (1.0 - share) / len(labels)), 1.0)
