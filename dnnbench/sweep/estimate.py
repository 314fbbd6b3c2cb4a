"""Estimate of a trial's duration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from dnnbench.trial.spec import TrialSpec


class TimeModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of a trial's duration: start-up, then workers that share cores.

    A step needs CPU time on the worker and on the parameter server. With few workers it waits for
    the round trip, with many for a core. The defaults were measured with the 784-64-64-10 network
    on two cores.

    Attributes:
        model: that the other values were measured with; nothing is known of others.
        start_up_s: per trial, whatever its size; includes evaluation and tear-down.
        start_up_cpu_s: per task.
        step_latency_s: per step that waits only for its messages.
        step_cpu_s: per step, without its examples.
        example_cpu_s: per example in a step.
        training_examples: of a data set that does not tell how many it has.
    """

    model: str = "mnist-dnn"
    start_up_s: float = 0.5
    start_up_cpu_s: float = 0.8
    step_latency_s: float = 2.0e-3
    step_cpu_s: float = 2.4e-3
    example_cpu_s: float = 5.0e-6
    training_examples: int = 55_000

    def trial_s(self, spec: TrialSpec, cores: float) -> float | None:
        """Estimate a trial's seconds on one machine with this many cores; None for other models."""
        if spec.model.name != self.model:
            return None
        share = 1 if spec.epoch_definition == "replicated" else spec.workers
        examples = spec.data.train_examples or self.training_examples
        epoch_steps = examples // share // spec.batch_size
        steps = spec.epochs * epoch_steps
        cpu_s = self.step_cpu_s + self.example_cpu_s * spec.batch_size
        alone_s = spec.warm_start_epochs * epoch_steps * max(self.step_latency_s, cpu_s / cores)
        step_s = max(self.step_latency_s, spec.workers * cpu_s / cores)
        step_s *= find_protocol(spec.protocol.name).step_cost
        start_up_s = self.start_up_s + self.start_up_cpu_s * spec.nodes / cores
        return start_up_s + alone_s + (spec.warmup_steps + steps) * step_s
