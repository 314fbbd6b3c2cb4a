"""Failures of a trial: the events and losses that are failures, and the one to report."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.trial.messages import AgentFailed, Diverged, Responding, RoleExited, RoleFailed
from dnnbench.trial.outcome import Failure
from dnnbench.trial.tasks import split_task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dnnbench.errors import CauseKind, HostError
    from dnnbench.trial.messages import AnyEvent

_NAMED: Final = 3  # tasks in one line
_WAITING_CORES: Final = 0.25
"""A role that uses less than this waits for others; one that computes uses a core, or its share."""
_FOLLOW_UP: Final = ("UnavailableError", "AbortedError", "CancelledError")
"""Errors of a role whose peer has failed before it."""
_KINDS: Final[dict[str, CauseKind]] = {
    "ResourceExhaustedError": "out-of-memory",
    "MemoryError": "out-of-memory",
    "Cannot allocate memory": "out-of-memory",
    "No space left on device": "disk-full",
    "UnavailableError": "disconnected",
}
"""Text in the cause of a role or an agent -> its kind."""
HARMLESS: Final = (
    r"I\d{4} "  # information, as TensorFlow marks it
    r"|WARNING: All log messages before absl::InitializeLog"
    r"|.*(failed call to cuInit|Could not find cuda|oneDNN custom operations"
    r"|This TensorFlow binary is optimized|To enable the following instructions)"
)
"""Regular expression of the beginnings of lines that TensorFlow logs on any machine without a GPU.

The tools on a host get it from here.
"""


class Failed(Exception):  # noqa: N818 - a way out of a trial, not an error of its own
    """Ends a trial.

    Attributes:
        noticed: a task only noticed that another one was gone or silent; if a host turns out to be
            lost, that explains it.
        is_external: it struck a process from outside, so that others need not meet it.
        culprits: the tasks to which it happened, if there are several.
    """

    def __init__(
        self,
        failure: Failure,
        *,
        noticed: bool = False,
        is_external: bool = False,
        culprits: Collection[str] = (),
    ) -> None:
        super().__init__(failure.cause)
        self.failure = failure
        self.noticed = noticed
        self.is_external = is_external
        self.culprits = culprits


def failure_of_host(host: str, error: HostError) -> Failure:
    """Return the failure for the loss of a host."""
    cause = f"{error.problem}; {error.remedy}" if error.remedy else error.problem
    return Failure(cause=cause, host=host, kind=error.kind)


def cause_in(event: AnyEvent, *, may_end: bool) -> str | None:
    """Return why an event ends the trial; None if it does not.

    Args:
        event: an event of a role or an agent.
        may_end: whether roles may already exit.
    """
    if isinstance(event, (RoleFailed, AgentFailed)):
        return event.cause
    if isinstance(event, Diverged):  # ends the trial like a failure, but is stored as itself
        return str(event.record)
    if isinstance(event, RoleExited) and event.code != 0:
        if event.lacked_memory:
            return f"killed by the kernel for lack of memory (signal {-event.code})"
        return f"killed by signal {-event.code}" if event.code < 0 else f"exit {event.code}"
    if isinstance(event, RoleExited) and not may_end:
        return "ended before the trial did"
    return None


def kind_of(event: AnyEvent) -> CauseKind | None:
    """Return the kind of the cause in an event that ends a trial; None where it is of none."""
    if isinstance(event, RoleExited):
        return "out-of-memory" if event.lacked_memory else kind_of_exit(event.code)
    if isinstance(event, AgentFailed) and event.kind:
        return event.kind
    if isinstance(event, (AgentFailed, RoleFailed)):
        return next((kind for text, kind in _KINDS.items() if text in event.cause), None)
    return None


def kind_of_exit(code: int) -> CauseKind | None:
    """Return the kind of a process's end by its exit code, negative for a signal."""
    if code == -signal.SIGILL:
        return "illegal-instruction"
    return "crashed" if code < 0 else None


def is_harmless(line: str) -> bool:
    """Return whether a line of a log is none that could explain a failure."""
    return not line.strip() or re.match(HARMLESS, line) is not None


def is_external(event: AnyEvent) -> bool:
    """Return whether what ended a role came from outside: a signal, or the loss of a peer."""
    return only_noticed(event) or (isinstance(event, RoleExited) and event.code < 0)


def only_noticed(event: AnyEvent) -> bool:
    """Return whether a role failed only because its peer had failed before it."""
    return isinstance(event, RoleFailed) and event.cause.startswith(_FOLLOW_UP)


def explains(event: AnyEvent) -> bool:
    """Return whether an event is why others noticed something, not one more who noticed it."""
    if isinstance(event, RoleExited):
        return event.code < 0
    return isinstance(event, (RoleFailed, Diverged)) and not only_noticed(event)


def stalled(
    waited: str,
    tasks: Collection[str],
    responses: Mapping[str, Responding],
    placement: Mapping[str, str],
    still: Collection[str] = (),
) -> Failed:
    """Return the failure for a wait that took too long, with the task that held up the others.

    Tasks that wait for each other all stand still when one does. That is one that does not respond,
    or else the one that computes while the others wait.

    Args:
        waited: for what, and how long.
        tasks: the running ones, which were asked to respond.
        responses: by task.
        placement: task -> host.
        still: tasks that stand still while the others go on, and wait for none of them.
    """
    silent = set(tasks) - responses.keys()
    busy = {task for task, found in responses.items() if found.cores >= _WAITING_CORES}
    if silent:
        culprits, cause = silent, f"{waited}; no response from {listed(silent, placement)}"
    elif still:
        culprits, cause = set(still), f"{waited}; it responds, and no other worker stands still"
    elif busy and busy != set(tasks):
        names = listed(busy, placement)
        culprits, cause = busy, f"{waited}; all tasks wait but {names}"
    else:
        cause = f"{waited}; every task responds" if tasks else waited
        return Failed(Failure(cause, kind="stalled"), noticed=True)
    task = min(culprits, key=split_task) if len(culprits) == 1 else None
    host = placement[task] if task else None
    failure = Failure(cause=cause, task=task, host=host, kind="stalled")
    is_external = bool(silent or still)
    return Failed(failure, noticed=True, is_external=is_external, culprits=culprits)


def headline(failed: Failed | None, loss: Failure | None) -> Failure | None:
    """Return why a trial failed: the first failure, or the loss of a host that explains it."""
    if failed is None:
        return None
    first = failed.failure
    if loss is None or not failed.noticed:
        return first
    place = f"{first.task} on {first.host}: " if first.task else ""
    return msgspec.structs.replace(loss, cause=f"{loss.cause} ({place}{first.cause})")


def listed(tasks: Collection[str], placement: Mapping[str, str]) -> str:
    """Return a text that names a few tasks with their hosts, and the number of the others."""
    ordered = sorted(tasks, key=split_task)
    shown, hosts = ordered[:_NAMED], {placement[task] for task in ordered}
    if len(hosts) == 1:
        text, place = ", ".join(shown), f" on {hosts.pop()}"
    else:
        text, place = ", ".join(f"{task} on {placement[task]}" for task in shown), ""
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return text + more + place
