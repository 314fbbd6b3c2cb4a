"""Estimate of a trial's duration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from dnnbench.trial.spec import TrialSpec


EXAMPLE_CPU_S: Final = {
    "mnist-dnn": 5.0e-6,
    "lenet-5": 8.0e-5,
    "resnet-8": 1.8e-3,
    "resnet-20": 4.5e-3,
}
"""Of one worker with batches of 100, the images of MNIST or CIFAR-10."""


class TimeModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of a trial's duration: start-up, then workers that share cores.

    A step needs CPU time on the worker and on the parameter server. With few workers it waits for
    the round trip, with many for a core. The defaults were measured with the 784-64-64-10 network
    on two cores.

    Attributes:
        import_s: once, for TensorFlow.
        start_up_s: per trial, whatever its size; includes evaluation and tear-down.
        start_up_cpu_s: per task.
        step_latency_s: per step that waits only for its messages.
        step_cpu_s: per step, without its examples.
        example_cpu_s: model -> per example in a step; nothing is known of other models.
        evaluated_examples: after each epoch and at the end, each a third of one in a step.
        training_examples: of a data set that does not tell how many it has.
    """

    import_s: float = 6.0
    start_up_s: float = 0.5
    start_up_cpu_s: float = 0.8
    step_latency_s: float = 2.0e-3
    step_cpu_s: float = 2.4e-3
    example_cpu_s: dict[str, float] = msgspec.field(default_factory=lambda: dict(EXAMPLE_CPU_S))
    evaluated_examples: int = 15_000
    training_examples: int = 55_000

    def trial_s(self, spec: TrialSpec, cores: float) -> float | None:
        """Estimate a trial's seconds on one machine with this many cores; None for other models."""
        example_cpu_s = self.example_cpu_s.get(spec.model.name)
        if example_cpu_s is None:
            return None
        examples = spec.data.train_examples or self.training_examples
        epoch_steps = spec.measured_steps(examples)
        steps = spec.epochs * epoch_steps
        cpu_s = self.step_cpu_s + example_cpu_s * spec.batch_size
        alone_s = spec.warm_start_epochs * epoch_steps * max(self.step_latency_s, cpu_s / cores)
        step_s = max(self.step_latency_s, spec.workers * cpu_s / cores)
        step_s *= find_protocol(spec.protocol.name).step_cost
        step_s = max(step_s, spec.pace_ms / 1e3 + self.step_latency_s)
        start_up_s = self.start_up_s + self.start_up_cpu_s * spec.nodes / cores
        evaluation_s = (spec.epochs + 1) * self.evaluated_examples * example_cpu_s / 3
        return start_up_s + alone_s + (spec.warmup_steps + steps) * step_s + evaluation_s
