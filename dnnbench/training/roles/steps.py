"""Run steps through one session and add up what they return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dnnbench.training.graph.exchange import INITIALIZE_ACCRUED
from dnnbench.training.roles.continuity import afresh
from dnnbench.trial.outcome import EpochRecord, Staleness

if TYPE_CHECKING:
    from collections.abc import Callable

    import tensorflow as tf

    from dnnbench.training.prepare import PreparedTrial

    Indices = np.ndarray[Any, np.dtype[np.int64]]


class Steps:
    """Runs steps through one session, several a ``session.run``."""

    def __init__(self, prepared: PreparedTrial, session: tf.compat.v1.Session) -> None:
        self._images = prepared.data.train_images
        self._labels = prepared.data.train_labels
        self._step = prepared.step
        self._session = session
        self._runs: dict[int, Callable[..., list[Any]]] = {}
        self._per_run = prepared.spec.run_steps
        self._n_push = prepared.spec.protocol.n_push
        if self._step.flush:
            session.run(INITIALIZE_ACCRUED)

    def run(self, batches: Indices, *, flush: bool) -> tuple[Any, Any, float | None]:
        """Train on batches of example indices, [steps, batch_size]; at most ``run_steps``.

        Args:
            batches: the indices.
            flush: whether to push what the protocol's intervals leave unpushed.

        Returns:
            Losses [steps]; staleness [pushes, shards]; the norm of the compensation over that of
            the gradient at the sampled step, None where that step was not run, nothing compensates,
            or there is no finite ratio.
        """
        steps = len(batches)
        images, labels = self._images[batches], self._labels[batches]
        if steps < self._per_run:  # the placeholders are fixed; what is fed beyond is never used
            images = np.resize(images, (self._per_run, *images.shape[1:]))
            labels = np.resize(labels, (self._per_run, *labels.shape[1:]))
        (losses,), staleness, norms = self._callable(steps)(images, labels)
        ratio = None
        if norms:
            compensation, gradient = np.sqrt(np.sum(norms, axis=0, dtype=np.float64))
            if gradient > 0 and np.isfinite(compensation) and np.isfinite(gradient):
                ratio = float(compensation / gradient)
        pushes = [np.stack(staleness, axis=1)]
        if flush and (steps - 1) % self._n_push:
            pushes.append(np.stack(self._session.run(self._step.flush), axis=1))
        return losses, np.concatenate(pushes).astype(np.int64), ratio

    def _callable(self, steps: int) -> Callable[..., list[Any]]:
        """Return the function that runs the first ``steps`` unrolled steps, made once."""
        if steps not in self._runs:
            step = self._step
            graph = self._session.graph
            norms = step.norms if step.norms_step < steps else []
            names = [[step.losses[steps - 1]], step.staleness[steps - 1], norms]
            tensors = [[graph.get_tensor_by_name(name) for name in group] for group in names]
            updates = [graph.get_operation_by_name(name) for name in step.state_updates[steps - 1]]
            feeds = [graph.get_tensor_by_name(name) for name in (step.images, step.labels)]
            run = self._session.make_callable([tensors, updates], feeds)
            self._runs[steps] = lambda *fed: run(*fed)[0]
        return self._runs[steps]


class EpochTotals:
    """What the steps of an epoch add up to."""

    def __init__(self) -> None:
        self.steps = 0
        self.loss = 0.0
        self.last_loss = 0.0
        self._final_loss: float | None = None
        self._counts = np.zeros(1, np.int64)
        self._ratios: list[float] = []

    def add(self, losses: Any, staleness: Any, ratio: float | None) -> None:
        """Add one run's results.

        Raises:
            TrialError: a shard was initialized afresh between a pull and its push.
        """
        self.steps += len(losses)
        self.loss += float(losses.sum())
        self.last_loss = float(losses[-1])
        self._final_loss = float(losses.mean(dtype=np.float64))
        try:
            counts = np.bincount(staleness.ravel(), minlength=len(self._counts))
        except ValueError:  # a shard counts fewer updates at the push than at the pull
            raise afresh(int(staleness.min(axis=0).argmin())) from None
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        if ratio is not None:
            self._ratios.append(ratio)

    def record(
        self, task: str, epoch: int, examples: int, duration_s: float, cpu_s: float
    ) -> EpochRecord:
        """Return the record of the epoch; the controller adds the parameter servers' share."""
        return EpochRecord(
            task=task,
            epoch=epoch,
            steps=self.steps,
            examples=examples,
            duration_s=duration_s,
            loss=self.loss / max(self.steps, 1),
            cpu_s=cpu_s,
            parameter_server_cpu_s=0.0,
            staleness=Staleness(self._counts.tolist()),
            compensation_ratio=float(np.mean(self._ratios)) if self._ratios else None,
            final_loss=self._final_loss,
        )
