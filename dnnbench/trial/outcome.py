"""Values that come of a trial: records, failure, outcome. They cross the wire and are stored.

Closed, frozen structs, as in `dnnbench.trial.spec`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dnnbench.errors import CauseKind
from dnnbench.trial.bounds import (
    Count,
    LongText,
    PositiveCount,
    PositiveSeconds,
    Real,
    Seconds,
    Share,
    StalenessCounts,
    Text,
)
from dnnbench.trial.spec import TrialSpec
from dnnbench.trial.usage import HostUse

Status = Literal["ok", "degraded", "diverged", "failed", "interrupted", "not run", "void"]
"""``degraded``: trained to the end, but lost workers or parameter servers on the way; in no
average. ``diverged``: the training did, the hosts are sound; a result, but one without accuracy.
``void``: ``ok``, but in a cell that is void, hence in no average; never stored, but found when
outcomes are read."""


class Staleness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Staleness of a set of updates: updates by others between a worker's pull and its push.

    Attributes:
        counts: ``counts[s]`` updates had staleness ``s``; as long as the largest one needs.
    """

    counts: StalenessCounts

    @property
    def updates(self) -> int:
        """How many updates were counted."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Mean staleness in updates; 0 where nothing was counted."""
        return sum(s * n for s, n in enumerate(self.counts)) / max(self.updates, 1)

    def percentile(self, percent: float) -> int:
        """Smallest staleness that at least ``percent`` of the updates do not exceed."""
        seen = 0
        for staleness, count in enumerate(self.counts):
            seen += count
            if count and seen * 100 >= percent * self.updates:
                return staleness
        return 0


class WarmupRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker's steps before the measured epochs: its warm-up, or the warm start before it."""

    task: Text
    steps: Count
    duration_s: Seconds


class EpochRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured epoch of one worker.

    Attributes:
        task: ``worker:0`` and so on.
        epoch: 1 for the first measured one.
        duration_s: monotonic, measured in the worker.
        loss: mean of the batches' training losses, regularization included.
        cpu_s: CPU seconds of the worker's process, all threads.
        parameter_server_cpu_s: CPU seconds of all parameter servers for this worker's updates:
            their CPU seconds an update over the measured part of the trial x ``steps``.
        staleness: one entry a step and shard.
        compensation_ratio: mean of the compensation's norm / the gradient's norm over the sampled
            steps; None for a protocol that does not compensate, and where no sampled step was run
            or a norm overflowed.
        initial_loss: of this worker's very first step, warm-up included; None where a warm start of
            another worker came before it, and in older files.
        final_loss: mean over the epoch's last ``session.run``, at most ``steps_per_run`` steps;
            None in older files.
    """

    task: Text
    epoch: PositiveCount
    steps: PositiveCount
    examples: PositiveCount
    duration_s: PositiveSeconds
    loss: Real
    cpu_s: Seconds
    parameter_server_cpu_s: Seconds
    staleness: Staleness
    compensation_ratio: Real | None = None
    initial_loss: Real | None = None
    final_loss: Real | None = None


class EvaluationRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracy (0 to 1) of the parameter servers' parameters, measured outside the timed part.

    Attributes:
        epoch: the parameters when ``worker:0`` ended this epoch; None for the final ones, after all
            workers ended.
        global_step: updates that these parameters hold (of shard 0).
        parameters_sha256: of all shards' float32 values, so that bit-identical ones are known.
        chance_accuracy: what always giving the most frequent class reaches on the test set, plus
            three standard errors of a share of that many examples; None in older files.
    """

    epoch: PositiveCount | None
    global_step: Count
    validation_accuracy: Share
    test_accuracy: Share
    parameters_sha256: Text = ""
    chance_accuracy: Share | None = None


class Divergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first value of a trial that is not finite.

    JSON has no numbers that are not finite. This is the form in which they cross the wire and are
    stored: the place where the first one stood.

    Attributes:
        task: worker that met it.
        epoch: 0 for a warm start and the warm-up.
        step: of this worker in that epoch, from 1.
    """

    task: Text
    epoch: Count
    step: PositiveCount
    quantity: Literal["loss", "parameters"] = "loss"

    def __str__(self) -> str:
        """One line: quantity and place."""
        verb = "is" if self.quantity == "loss" else "are"
        part = f"of epoch {self.epoch}" if self.epoch else "before epoch 1"
        return f"{self.quantity} {verb} not finite at step {self.step} {part} ({self.task})"


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a trial is not ``ok``: the first failure, not what followed from it.

    Attributes:
        kind: of the cause; None where it is of no kind, and in older files.
    """

    cause: LongText
    task: Text | None = None
    host: Text | None = None
    log_tail: list[LongText] = []
    kind: CauseKind | None = None

    @property
    def place(self) -> str:
        """``worker:1 on node3``, or as much of it as is known."""
        return " on ".join(part for part in (self.task, self.host) if part)

    def __str__(self) -> str:
        """One line: place and cause."""
        cause = " ".join(self.cause.split())
        return f"{self.place}: {cause}" if self.place else cause


class LostWorker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker that ended in the measured part while the others went on.

    Attributes:
        epoch: in which it was lost.
        after_s: from the start of the measured epochs.
        is_restarted: whether it was started again.
    """

    task: Text
    host: Text
    cause: LongText
    epoch: PositiveCount
    after_s: Seconds
    is_restarted: bool = False
    kind: CauseKind | None = None

    def __str__(self) -> str:
        """One line: place, time and cause."""
        again = ", started again" if self.is_restarted else ""
        when = f"epoch {self.epoch}, {self.after_s:.1f} s after the start"
        return f"{self.task} on {self.host} in {when}: {' '.join(self.cause.split())}{again}"


class LostServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter server that ended in the measured part and was started again.

    Attributes:
        epoch: the earliest one that a worker had to repeat.
        after_s: from the start of the measured epochs.
        checkpoint_age_s: what its shard was set back by: time from the last checkpoint to the loss.
        updates_restored: that the shard held after it was restored.
    """

    task: Text
    host: Text
    cause: LongText
    epoch: PositiveCount
    after_s: Seconds
    checkpoint_age_s: Seconds
    updates_restored: Count
    kind: CauseKind | None = None

    def __str__(self) -> str:
        """One line: place, time, cause and checkpoint."""
        when = f"epoch {self.epoch}, {self.after_s:.1f} s after the start"
        return (
            f"{self.task} on {self.host} in {when}: {' '.join(self.cause.split())}, set back by "
            f"{self.checkpoint_age_s:.1f} s to {self.updates_restored:,} updates"
        )


class TrialOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of one trial; of one that was ``not run``, only why.

    Attributes:
        started_at: UTC, ISO 8601.
        start_up_s: from the order to the start of the measured epochs, with warm start and warm-up.
        training_s: from the start of the measured epochs to the end of the last worker's last one.
        duration_s: all of it, evaluation and tear-down included.
        updates_pushed: by all workers, warm-up included (a step pushes once to every shard).
        updates_applied: by shard, as the parameter servers counted them.
        parameter_server_cpu_s: of all parameter servers, over the measured part.
        differing_replicas: workers that ended with other parameters than ``worker:0``, where all
            are to have the same.
        placement: task -> host.
        seeds: worker -> the seed of its batches and its dropout, derived from the order's.
        divergence: set if and only if ``diverged``.
        use: host -> what else ran there; without hosts that do not tell, and empty in older files.
        parameters: trainable ones of the model; None in older files.
        warm_start: what ``worker:0`` trained alone, before the others began.
        lost_workers, lost_servers: in the order of their loss; not both empty if ``degraded``.
    """

    order: TrialSpec
    status: Status
    started_at: Text
    duration_s: Seconds
    start_up_s: Seconds = 0.0
    training_s: Seconds = 0.0
    parameter_server_cpu_s: Seconds = 0.0
    updates_pushed: Count = 0
    updates_applied: list[Count] = []
    differing_replicas: list[Text] = []
    placement: dict[Text, Text] = {}
    seeds: dict[Text, int] = {}
    warmups: list[WarmupRecord] = []
    epochs: list[EpochRecord] = []
    evaluations: list[EvaluationRecord] = []
    failure: Failure | None = None
    divergence: Divergence | None = None
    use: dict[str, HostUse] = {}
    parameters: Count | None = None
    warm_start: WarmupRecord | None = None
    lost_workers: list[LostWorker] = []
    lost_servers: list[LostServer] = []

    @property
    def losses(self) -> list[LostWorker | LostServer]:
        """What it lost on the way, in the order of time."""
        return sorted([*self.lost_workers, *self.lost_servers], key=lambda lost: lost.after_s)
