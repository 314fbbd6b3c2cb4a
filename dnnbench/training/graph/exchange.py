"""A worker's half of pull and push, unrolled, by default both in every step.

`Exchange` is the simplest form: a step pulls, and its push is applied before the next pull.
`IntervalExchange` is Downpour SGD with n_fetch and n_push: parameters of the worker's own between
two pulls, and accrued gradients between two pushes.

Source: Dean et al., Large Scale Distributed Deep Networks, NIPS 2012, appendix, Algorithm 1.1. Its
threads for pull and push are only weakly synchronized; here a step waits for its own pull, and for
no push.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dnnbench.errors import ConfigError
from dnnbench.training.protocols.base import COUNT_STEP, vector
from dnnbench.trial.protocols import why_every_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow as tf

    from dnnbench.training.graph.setting import StepSetting
    from dnnbench.training.protocols.base import Shard

INITIALIZE_ACCRUED = "initialize_accrued"
"""Operation after which a worker has accrued nothing."""


def make_exchange(shards: Sequence[Shard], sizes: Sequence[int], setting: StepSetting) -> Exchange:
    """Return the exchange of the setting's protocol.

    Raises:
        ConfigError: it has intervals, but the protocol pulls and pushes in every step.
    """
    protocol = setting.protocol
    if not protocol.has_intervals:
        return Exchange(shards)
    if reason := why_every_step(protocol.name):
        raise ConfigError(f"protocol {protocol.name} takes no intervals: {reason}")
    return IntervalExchange(shards, sizes, setting)


class Exchange:
    """Pulls and pushes every step; one use per graph, one call of each method per step, in order.

    Attributes:
        flush: names of what `add_flush` adds, by shard; empty where no gradient is ever left over.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.flush: list[str] = []
        self._shards = shards
        self._pulled: list[tf.Tensor] = []
        self._pushed: list[tf.Tensor] = []
        self._staleness: list[list[tf.Tensor]] = [[] for _ in shards]

    def pull(self) -> list[tf.Tensor]:
        """Return the parameters to compute the step's gradient from, by shard [size + 1]."""
        import tensorflow as tf

        # A shard's pull waits for this worker's push to it, and for no other shard.
        pulled = []
        for index, shard in enumerate(self._shards):
            with tf.control_dependencies(self._pushed[index : index + 1]):
                pulled.append(shard.pull())
        self._pulled = pulled
        return pulled

    def push(self, gradients: Sequence[tf.Tensor], *, measure: bool) -> list[tf.Tensor]:
        """Push the step's gradients, by shard [size + 1].

        Returns:
            Where ``measure``, the squared norms of compensation and gradient, by shard; empty where
            nothing compensates.
        """
        pushes = [
            shard.push(gradient, pulled, measure=measure)
            for shard, gradient, pulled in zip(self._shards, gradients, self._pulled, strict=True)
        ]
        self._pushed = [applied_at for applied_at, _ in pushes]
        return [norms for _, norms in pushes if norms is not None]

    def staleness(self) -> list[str]:
        """Return names of the staleness of all pushes so far, by shard float32 [pushes]."""
        import tensorflow as tf

        names = []
        for shard, late, applied_at, pulled in zip(
            self._shards, self._staleness, self._pushed, self._pulled, strict=True
        ):
            with tf.compat.v1.device(shard.device):
                late.append(applied_at - shard.count(pulled))
                names.append(tf.concat(late, 0).name)
        return names

    def keep(self) -> list[str]:
        """Return names of operations that keep what the next run needs if this one ends here."""
        return []

    def add_flush(self) -> None:
        """Add the push of what is left over at the end of an epoch."""


class IntervalExchange(Exchange):
    """Pulls in every ``n_fetch``-th step and pushes in every ``n_push``-th, from step 0 on.

    In the steps without a pull, the worker goes on with its own parameters, which it changes by
    its own learning rate. A push is the sum of the gradients since the push before it. What a run
    of steps leaves unpushed is in a variable of the worker: the first step of the next run pushes
    it, or the flush at the end of an epoch. A run is of whole intervals, so it begins with a pull.

    The staleness of a push is that of its oldest gradient: the updates of others between the pull
    behind that gradient and the push. A worker knows its own updates, so they do not count.
    """

    def __init__(self, shards: Sequence[Shard], sizes: Sequence[int], setting: StepSetting) -> None:
        import tensorflow as tf

        tf1 = tf.compat.v1
        super().__init__(shards)
        protocol = setting.protocol
        self._n_fetch, self._n_push = protocol.n_fetch, protocol.n_push
        self._device = setting.worker_device
        self._sizes = sizes
        self._step = -1
        self._own = 0  # pushes since the last pull
        self._computed: list[tf.Tensor] = []  # the last step's gradients
        self._local: list[tf.Tensor] = []
        self._factors: list[tf.Tensor | None] = []
        self._seen: list[tf.Tensor] = []
        self._kept: list[_Kept] = []
        with tf1.device(self._device):
            if self._n_fetch > 1:
                self._minus_rate = [vector(size, -protocol.own_rate, count=0.0) for size in sizes]
            if self._n_push > 1:
                self._kept = [_Kept(index, size) for index, size in enumerate(sizes)]
                tf.group(*(kept.initializer for kept in self._kept), name=INITIALIZE_ACCRUED)
        self._accrued = [kept.accrued_before for kept in self._kept]
        self._oldest = [kept.seen_before for kept in self._kept]

    def pull(self) -> list[tf.Tensor]:
        """See :class:`Exchange`."""
        import tensorflow as tf

        self._step += 1
        if self._step % self._n_fetch:
            return self._local
        pulled, factors = [], []
        # Without a push in between, nothing but the step before orders two pulls.
        for index, shard in enumerate(self._shards):
            before = [*self._pushed[index : index + 1], *self._computed[index : index + 1]]
            with tf.control_dependencies(before):
                pulled.append(shard.pull())
                factors.append(shard.rate_factor() if self._n_fetch > 1 else None)
        self._pulled, self._factors, self._own = pulled, factors, 0
        with tf.compat.v1.device(self._device):
            self._seen = [
                tf.slice(part, [size], [1]) for part, size in zip(pulled, self._sizes, strict=True)
            ]
        return pulled

    def push(self, gradients: Sequence[tf.Tensor], *, measure: bool) -> list[tf.Tensor]:
        """See :class:`Exchange`; nothing compensates, so nothing is measured."""
        import tensorflow as tf

        del measure
        self._computed = list(gradients)
        with tf.compat.v1.device(self._device):
            if (self._step + 1) % self._n_fetch:
                self._local = self._changed(gradients)
            self._accrue(gradients)
            if self._step % self._n_push:
                return []
            sums = [self._counted(part) for part in self._accrued]
        pushed = []
        for index, shard in enumerate(self._shards):
            with tf.control_dependencies(self._pushed[index : index + 1]):
                applied_at, _ = shard.push(sums[index], self._pulled[index], measure=False)
                pushed.append(applied_at)
        with tf.compat.v1.device(self._device):
            for late, applied_at, seen in zip(self._staleness, pushed, self._oldest, strict=True):
                late.append(applied_at - seen)
        self._pushed, self._accrued, self._oldest = pushed, [], []
        self._own += 1
        return []

    def _changed(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return the worker's own parameters after this step; they keep the count of their pull."""
        before = self._local if self._step % self._n_fetch else self._pulled
        changed = []
        for index, gradient in enumerate(gradients):
            factor = self._factors[index]
            change = self._minus_rate[index] * gradient
            changed.append(before[index] + (change if factor is None else factor * change))
        return changed

    def _accrue(self, gradients: Sequence[tf.Tensor]) -> None:
        """Add the step's gradients to the sum, and remember what the oldest one has seen."""
        import tensorflow as tf

        seen = [part + float(self._own) for part in self._seen] if self._own else self._seen
        if not self._accrued:
            self._accrued, self._oldest = list(gradients), seen
            return
        self._accrued = [a + g for a, g in zip(self._accrued, gradients, strict=True)]
        if self._step == 0:  # to what the run before has left, if anything: that is older
            self._oldest = [tf.minimum(*both) for both in zip(self._oldest, seen, strict=True)]

    def _counted(self, part: tf.Tensor) -> tf.Tensor:
        """Return a sum of gradients that counts as one update."""
        import tensorflow as tf

        return part if self._n_push == 1 else tf.concat([part[:-1], [COUNT_STEP]], 0)

    def staleness(self) -> list[str]:
        """See :class:`Exchange`."""
        import tensorflow as tf

        with tf.compat.v1.device(self._device):
            return [tf.concat(late, 0).name for late in self._staleness]

    def keep(self) -> list[str]:
        """See :class:`Exchange`."""
        import tensorflow as tf

        names = []
        with tf.compat.v1.device(self._device):
            for index, kept in enumerate(self._kept):
                operations = (
                    kept.assign(self._accrued[index], self._oldest[index])
                    if self._accrued
                    else kept.empty()
                )
                names += [operation.name for operation in operations]
        return names

    def add_flush(self) -> None:
        """See :class:`Exchange`."""
        import tensorflow as tf

        for kept, shard in zip(self._kept, self._shards, strict=bool(self._kept)):
            with tf.compat.v1.device(self._device):
                total = self._counted(kept.accrued_before)
            # No protocol with intervals asks what was pulled; this pull is never run.
            applied_at, _ = shard.push(total, shard.pull(), measure=False)
            with tf.compat.v1.device(self._device):
                late = applied_at - kept.seen_before
                with tf.control_dependencies([late]):
                    emptied = kept.empty()
                with tf.control_dependencies(emptied):
                    self.flush.append(tf.identity(late).name)


class _Kept:
    """What a worker keeps of a shard from one run to the next.

    Attributes:
        accrued_before: the sum of the gradients that the run before has not pushed, [size + 1].
        seen_before: updates of the shard that the oldest of them has seen, [1]; infinite for none.
    """

    def __init__(self, index: int, size: int) -> None:
        import tensorflow as tf

        self._nothing = tf.zeros([size + 1]), tf.constant([np.inf], tf.float32)
        self._accrued, self._seen = (
            tf.compat.v1.get_variable(f"{name}_{index}", initializer=value, use_resource=True)
            for name, value in zip(("accrued", "seen"), self._nothing, strict=True)
        )
        self.initializer = tf.group(self._accrued.initializer, self._seen.initializer)
        self.accrued_before = self._accrued.read_value()
        self.seen_before = self._seen.read_value()

    def empty(self) -> list[tf.Operation]:
        """Return operations after which nothing is accrued."""
        return self.assign(*self._nothing)

    def assign(self, accrued: tf.Tensor, seen: tf.Tensor) -> list[tf.Operation]:
        """Return operations that keep these values for the next run."""
        import tensorflow as tf

        with tf.control_dependencies([self.accrued_before, self.seen_before]):
            return [
                self._accrued.assign(accrued, read_value=False),
                self._seen.assign(seen, read_value=False),
            ]
