"""Messages: orders down to an agent and its roles, events up, one JSON line each.

Durations are monotonic and measured in the process that owns them; ``at_s`` is that host's wall
clock, for people who read the log.
"""

from __future__ import annotations

import time
from typing import Union

import msgspec

from dnnbench.errors import CauseKind
from dnnbench.trial.bounds import (
    Count,
    ExitCode,
    Moment,
    Port,
    PositiveCount,
    ProcessId,
    Quantity,
    Seconds,
    Text,
)
from dnnbench.trial.machine import MachineSnapshot
from dnnbench.trial.outcome import Divergence, EpochRecord, EvaluationRecord, WarmupRecord
from dnnbench.trial.spec import TrialSpec
from dnnbench.trial.tasks import WORKER, ClusterSpec
from dnnbench.trial.usage import HostUse

# --- orders: controller → agent -------------------------------------------------------------------


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="order"):
    """Base of all orders."""


class Prepare(Order, frozen=True, tag="prepare"):
    """Load the data and build the graph of this trial, so that roles can be forked with both.

    Attributes:
        own_core: whether this host has a core for each of its roles.
    """

    trial: TrialSpec
    own_core: bool = False


class Start(Order, frozen=True, tag="start"):
    """Fork the roles of these tasks of the prepared trial; each sends ``PortReserved``.

    Attributes:
        ports: task -> the port that is held for it; None where the kernel chooses.
    """

    tasks: list[str]
    threads: int
    ports: dict[str, int] | None = None


class Connect(Order, frozen=True, tag="connect"):
    """To all roles: start the TensorFlow server; parameter servers initialize their shard.

    Attributes:
        checkpoint_s: seconds between two checkpoints of a parameter server; 0 for none.
        again: this role replaces a lost one: a parameter server restores its last checkpoint, and
            ``worker:0`` makes no warm start.
    """

    cluster: ClusterSpec
    checkpoint_s: float = 0.0
    again: bool = False


class WarmStart(Order, frozen=True, tag="warm_start"):
    """To all roles, once every server is ready: ``worker:0`` trains alone, the others wait.

    Sent only in a trial with a warm start.
    """


class WarmUp(Order, frozen=True, tag="warm_up"):
    """To all roles, once every server is ready and started warm: the warm-up steps."""


class Go(Order, frozen=True, tag="go"):
    """To all roles, once every worker is warm: the measured part begins.

    Attributes:
        first_epoch: later than 1 for a worker that was started again; one more than the trial's
            epochs if it has only to evaluate.
    """

    first_epoch: PositiveCount = 1


class Restart(Order, frozen=True, tag="restart"):
    """Fork a lost role again, which goes through the orders up to ``Go`` alone.

    Attributes:
        port: of the lost role; the other roles know no other.
        first_epoch: of a worker, the one in which it was lost.
        checkpoint_s: see `Connect`.
    """

    task: str
    threads: int
    port: int
    cluster: ClusterSpec
    first_epoch: PositiveCount
    checkpoint_s: float = 0.0


class Finish(Order, frozen=True, tag="finish"):
    """To all roles, once every worker has trained: parameter servers account, workers end.

    Attributes:
        evaluator: the worker that evaluates before it ends.
    """

    evaluator: str = f"{WORKER}:0"


class Leave(Order, frozen=True, tag="leave"):
    """To the parameter servers, once no worker needs them: end."""


class Respond(Order, frozen=True, tag="respond"):
    """To all roles, when nothing has come for too long: send ``Responding``, whatever you do."""


class Stop(Order, frozen=True, tag="stop"):
    """Kill what still runs of the current trial, or these tasks of it."""

    tasks: list[str] | None = None


AnyOrder = Union[  # noqa: UP007 - msgspec resolves this at run time on 3.10
    Prepare,
    Start,
    Connect,
    WarmStart,
    WarmUp,
    Go,
    Restart,
    Finish,
    Leave,
    Respond,
    Stop,
]

# --- events: role or agent → controller -----------------------------------------------------------


class Event(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"
):
    """Base of all events; ``task`` is ``agent`` for those that no role sent."""

    task: Text
    at_s: Moment = msgspec.field(default_factory=time.time)


class AgentReady(Event, frozen=True, tag="agent_ready"):
    """TensorFlow is imported; roles can be forked."""

    pid: ProcessId
    preload_s: Seconds
    machine: MachineSnapshot


class Prepared(Event, frozen=True, tag="prepared"):
    """The data are loaded and the graph of a trial is built."""

    duration_s: Seconds
    parameters: Count


class PortReserved(Event, frozen=True, tag="port_reserved"):
    """A role's process runs and holds a port."""

    pid: ProcessId
    port: Port


class ServerReady(Event, frozen=True, tag="server_ready"):
    """A role's TensorFlow server listens; a parameter server has initialized its shard.

    Attributes:
        updates: that a restored shard holds; None of one that was initialized, and of a worker.
    """

    updates: Count | None = None


class PortClash(Event, frozen=True, tag="port_clash"):
    """The reserved port was taken before the TensorFlow server could bind it."""

    port: Port


class WarmStarted(Event, frozen=True, tag="warm_started"):
    """``worker:0`` has trained alone."""

    record: WarmupRecord


class WarmedUp(Event, frozen=True, tag="warmed_up"):
    """A worker is at the start line."""

    record: WarmupRecord


class Progress(Event, frozen=True, tag="progress"):
    """Where a worker is, a few times a second; epoch 0 is the warm start."""

    epoch: Count
    step: Count
    steps_per_epoch: PositiveCount
    examples_per_s: Quantity
    loss: float


class EpochEnd(Event, frozen=True, tag="epoch_end"):
    """A worker's measured epoch; parameter-server CPU seconds are added by the controller."""

    record: EpochRecord


class Trained(Event, frozen=True, tag="trained"):
    """A worker has done its epochs and pushed this many updates, warm-up included.

    Attributes:
        replica_sha256: of its parameters, where all workers have the same; else empty.
    """

    updates_pushed: Count
    replica_sha256: Text = ""


class Served(Event, frozen=True, tag="served"):
    """A parameter server's account: CPU seconds of the measured part, updates applied in all.

    Without parameter servers it is the first worker's, whose CPU seconds are in its epochs.
    """

    cpu_s: Seconds
    updates_applied: Count


class Checkpointed(Event, frozen=True, tag="checkpointed"):
    """A parameter server has a new checkpoint on its host's disk.

    Attributes:
        updates: that the shard held.
        duration_s: since the shard was read.
    """

    updates: Count
    duration_s: Seconds


class CheckpointFailed(Event, frozen=True, tag="checkpoint_failed"):
    """A checkpoint could not be written; ``cause`` is one line, and the one before is kept."""

    cause: str


class Evaluated(Event, frozen=True, tag="evaluated"):
    """Accuracy of a state of the parameters."""

    record: EvaluationRecord


class Diverged(Event, frozen=True, tag="diverged"):
    """A worker met a value that is not finite, and ends; no event carries such a value."""

    record: Divergence


class Responding(Event, frozen=True, tag="responding"):
    """A role's process runs, and uses this many cores: about 0 if it waits, 1 or more if not."""

    cores: Quantity


class Log(Event, frozen=True, tag="log"):
    """A line that a process wrote to its standard output or error."""

    line: str


class RoleFailed(Event, frozen=True, tag="role_failed"):
    """An exception ended a role; ``cause`` is its one line."""

    cause: str


class RoleExited(Event, frozen=True, tag="role_exited"):
    """A role's process is gone. ``code`` as in ``subprocess``: negative for a signal.

    Attributes:
        lacked_memory: whether the kernel killed a process for lack of memory meanwhile.
    """

    code: ExitCode
    lacked_memory: bool = False


class HostUsed(Event, frozen=True, tag="host_used"):
    """What else ran on the agent's machine during the measured part of a trial."""

    use: HostUse


class AgentFailed(Event, frozen=True, tag="agent_failed"):
    """The agent could not carry out an order."""

    cause: str
    kind: CauseKind | None = None


AnyEvent = Union[  # noqa: UP007 - msgspec resolves this at run time on 3.10
    AgentReady,
    Prepared,
    PortReserved,
    ServerReady,
    PortClash,
    WarmStarted,
    WarmedUp,
    Progress,
    EpochEnd,
    Trained,
    Served,
    Checkpointed,
    CheckpointFailed,
    Evaluated,
    Diverged,
    Responding,
    Log,
    RoleFailed,
    RoleExited,
    HostUsed,
    AgentFailed,
]

_encoder = msgspec.json.Encoder()
_order_decoder: msgspec.json.Decoder[AnyOrder] = msgspec.json.Decoder(AnyOrder)
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(message: Order | Event) -> bytes:
    """Return the message as one line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_order(line: bytes) -> AnyOrder:
    """Read an order.

    Raises:
        msgspec.DecodeError: not an order this version knows.
    """
    return _order_decoder.decode(line)


def decode_event(line: bytes) -> AnyEvent:
    """Read an event.

    Raises:
        msgspec.DecodeError: not an event this version knows.
    """
    return _event_decoder.decode(line)
