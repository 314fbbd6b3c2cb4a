"""Values that describe a step's graph: its setting, and the names of what to feed and fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    import numpy as np

    from dnnbench.data.sets import ExampleShape
    from dnnbench.trial.spec import TrialSpec

    Vector = np.ndarray[Any, np.dtype[np.float32]]


class StepSetting(msgspec.Struct, frozen=True):
    """What the graph depends on: trials that agree in this share one graph.

    Attributes:
        model: a `ModelSpec`.
        protocol: a `ProtocolSpec`.
        examples: an `ExampleShape`.
        workers: under a synchronous protocol; 0 under the others, which do not depend on it.
        own_core: whether each worker has a core that idles while it waits for others.
        pace_ms: shortest time of a step; 0 for none.
    """

    model: Any
    protocol: Any
    examples: Any
    parameter_servers: int
    batch_size: int
    steps_per_run: int
    workers: int = 0
    own_core: bool = False
    pace_ms: float = 0.0

    @classmethod
    def of(cls, trial: TrialSpec, examples: ExampleShape, *, own_core: bool) -> StepSetting:
        """Take the setting out of the specification of a trial."""
        return cls(
            own_core=own_core and trial.nodes > 1,  # else there is nothing to wait for
            model=trial.model,
            protocol=trial.protocol,
            examples=examples,
            parameter_servers=trial.parameter_servers,
            batch_size=trial.batch_size,
            steps_per_run=trial.run_steps,
            pace_ms=trial.pace_ms,
            workers=trial.workers if find_protocol(trial.protocol.name).synchronous else 0,
        )

    @property
    def shards(self) -> int:
        """Parts that the parameters are divided into: one per parameter server, one without any."""
        return max(self.parameter_servers, 1)

    @property
    def worker_device(self) -> str:
        """Device of a worker's operations; where there is no other, the session's own."""
        return "/job:worker" if self.parameter_servers else ""


class StateSpec(msgspec.Struct, frozen=True):
    """A non-trainable state of the model (dropout's seed, a moving mean), kept by each worker.

    Attributes:
        initial: flat values; None for a random seed, which each worker derives from its own.
    """

    name: str
    shape: list[int]
    dtype: str
    initial: list[float] | None


class StepGraph(msgspec.Struct, frozen=True):
    """A graph and the names of what to feed and fetch.

    The lists run over the unrolled steps: entry k serves a run of the first k + 1 of them, and
    nothing beyond is executed.

    Attributes:
        worker_graph: serialized GraphDef with everything.
        shard_graphs: by parameter server, a serialized GraphDef of its shard's variables alone.
        shard_sizes: parameters by shard, the counting element excluded.
        losses: float32 [k + 1], each of one batch.
        staleness: by shard, float32 [pushes], k + 1 of them unless the protocol has intervals.
        state_updates: operations that keep the model's states, and accrued gradients, for the next
            run.
        norms: by shard, float32 [2]: squared norms of compensation and gradient at the step
            ``norms_step``; empty where nothing is compensated.
        leave: operation that ends a worker's part; None where no other worker waits for it.
        flush: by shard, float32 [1]: the staleness of the push of what is left over at the end of
            an epoch; empty where nothing ever is.
    """

    worker_graph: bytes
    shard_graphs: list[bytes]
    shard_sizes: list[int]
    states: list[StateSpec]
    losses: list[str]
    staleness: list[list[str]]
    state_updates: list[list[str]]
    norms: list[str]
    norms_step: int
    leave: str | None = None
    flush: list[str] = []
    images: str = "images:0"
    labels: str = "labels:0"
    pull: str = "pull:0"
    evaluation_parameters: str = "evaluation_parameters:0"
    evaluation_images: str = "evaluation_images:0"
    evaluation_labels: str = "evaluation_labels:0"
    correct: str = "correct:0"
