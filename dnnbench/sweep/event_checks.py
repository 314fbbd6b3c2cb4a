"""Check what a host sends on arrival, so that all other code can rely on it.

`read_event` checks each event by itself: its form, and every number and text in it. `EventCheck`
checks it against the trial: a host reports only on tasks that are placed there, and reports each
result once. If an event fails either check, its host is lost.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.errors import HostError
from dnnbench.text.safe import one_line, visible
from dnnbench.trial.bounds import LINE_BYTES
from dnnbench.trial.messages import (
    AgentFailed,
    AgentReady,
    Checkpointed,
    CheckpointFailed,
    Diverged,
    EpochEnd,
    Evaluated,
    HostUsed,
    Log,
    Prepared,
    Progress,
    Responding,
    RoleFailed,
    Served,
    Trained,
    WarmedUp,
    WarmStarted,
    decode_event,
)
from dnnbench.trial.tasks import AGENT, PARAMETER_SERVER, WORKER, accountants, split_task

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.spec import TrialSpec

LOG_LINE_CHARACTERS: Final = 10_000
"""Longest line of a log that is kept."""
EVENTS_OF_A_TASK: Final = 1_000_000
"""More than three days of progress, at four events per second."""
_SHOWN_BYTES: Final = 80
_SHOWN_CHARACTERS: Final = 40
_OF_AGENTS: Final = (AgentReady, Prepared, HostUsed, Responding, AgentFailed)
_OF_SERVERS: Final = (Checkpointed, CheckpointFailed)
_OF_WORKERS: Final = (WarmedUp, Progress, EpochEnd, Trained, Diverged)


def read_event(host: str, line: bytes) -> AnyEvent:
    """Decode an event that a host sent, and make its text safe to write and to show.

    Raises:
        HostError: it is not an event, or a value in it is out of bounds.
    """
    if len(line) > LINE_BYTES:
        raise too_long(host)
    try:
        event = decode_event(line)
    # JSON may be nested deeper than Python recurses, or contain half of a surrogate pair.
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise malformed(host, "an event", line, error) from None
    if isinstance(event, Log):
        return msgspec.structs.replace(event, line=_log_line(event.line))
    if isinstance(event, (RoleFailed, AgentFailed, CheckpointFailed)):
        return msgspec.structs.replace(event, cause=one_line(event.cause))
    return event


def malformed(host: str, expected: str, line: bytes, error: Exception) -> HostError:
    """Return the error for a line of a host that is not what was expected."""
    shown = f"{line[:_SHOWN_BYTES]!r}: {one_line(str(error))}"
    return HostError(f"expected {expected}, found {shown}", where=host)


def too_long(host: str) -> HostError:
    """Return the error for a line of a host that is longer than allowed."""
    return HostError(f"expected lines of at most {LINE_BYTES:,} bytes, found more", where=host)


class EventCheck:
    """Checks the events of one trial.

    Attributes:
        evaluator: the worker that reports accuracies.

    Args:
        spec: the trial.
        placement: task -> host.
    """

    def __init__(self, spec: TrialSpec, placement: Mapping[str, str]) -> None:
        self.evaluator = f"{WORKER}:0"
        self._epochs = spec.epochs
        self._placement = placement
        self._accountants = accountants(placement)
        self._results: set[Hashable] = set()
        self._events: Counter[tuple[str, str]] = Counter()

    def refuse_odd(self, host: str, event: AnyEvent) -> None:
        """Refuse an event that an honest host would not send.

        Raises:
            HostError: it broke the protocol.
        """
        if problem := self._problem(host, event):
            raise HostError(f"broke the protocol: {problem}", where=host)

    def forget_warm_up(self, task: str) -> None:
        """Allow a worker that is started again to warm up again."""
        self._results.discard((WarmedUp, task, None))

    def _problem(self, host: str, event: AnyEvent) -> str | None:
        task = event.task
        if task != AGENT or not isinstance(event, (*_OF_AGENTS, Log)):
            if self._placement.get(task) != host:
                return f"expected events of the tasks placed there, found {_shown(event)}"
            if not self._is_of_role(event):
                return f"expected events of the role of {task}, found {_shown(event)}"
            if problem := self._odd_result(event):
                return problem
        elif isinstance(event, HostUsed) and self._is_repeated((HostUsed, host)):
            return f"expected each result once, found another {_shown(event)}"
        return self._too_many(host, event)

    def _is_of_role(self, event: AnyEvent) -> bool:
        """Tell whether the role of the event's task sends events of this kind."""
        job, _ = split_task(event.task)
        if isinstance(event, (Evaluated, WarmStarted)):
            return event.task == self.evaluator
        if isinstance(event, Served):
            return event.task in self._accountants
        if isinstance(event, _OF_WORKERS):
            return job == WORKER
        if isinstance(event, _OF_SERVERS):
            return job == PARAMETER_SERVER
        return isinstance(event, Responding) or not isinstance(event, _OF_AGENTS)

    def _odd_result(self, event: AnyEvent) -> str | None:
        task, epoch = event.task, None
        if not isinstance(
            event, (WarmStarted, WarmedUp, EpochEnd, Trained, Served, Evaluated, Diverged)
        ):
            return None
        if (
            isinstance(event, (WarmStarted, WarmedUp, EpochEnd, Diverged))
            and event.record.task != task
        ):
            return f"expected records of {task}, found one of {_quoted(event.record.task)}"
        if isinstance(event, (EpochEnd, Evaluated)):
            epoch = event.record.epoch
            if epoch is not None and epoch > self._epochs:
                return f"expected epochs up to {self._epochs}, found {epoch} of {task}"
        if isinstance(event, Diverged) and event.record.epoch > self._epochs:
            return f"expected epochs up to {self._epochs}, found {event.record.epoch} of {task}"
        if self._is_repeated((type(event), task, epoch)):
            return f"expected each result once, found another {_shown(event)}"
        return None

    def _is_repeated(self, result: Hashable) -> bool:
        if result in self._results:
            return True
        self._results.add(result)
        return False

    def _too_many(self, host: str, event: AnyEvent) -> str | None:
        if isinstance(event, Log):  # a log has a bound of its own
            return None
        sender = (host, event.task)
        self._events[sender] += 1
        if self._events[sender] > EVENTS_OF_A_TASK:
            return f"expected at most {EVENTS_OF_A_TASK:,} events of {event.task}, found more"
        return None


def _shown(event: AnyEvent) -> str:
    return f"{type(event).__name__} of {_quoted(event.task)}"


def _quoted(task: str) -> str:
    return repr(one_line(task, _SHOWN_CHARACTERS))


def _log_line(line: str) -> str:
    """Return a log line as it is stored: with its indentation, without terminal controls."""
    kept = visible(line[:LOG_LINE_CHARACTERS])
    if len(line) > LOG_LINE_CHARACTERS:
        return f"{kept} ... ({len(line):,} characters)"
    return kept
