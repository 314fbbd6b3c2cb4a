"""Store the events and the logs of a trial as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.sweep.documents import writing
from dnnbench.trial.messages import Log
from dnnbench.trial.tasks import AGENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from typing_extensions import Self

    from dnnbench.sweep.observer import Observer
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.spec import TrialSpec

LOG_BYTES: Final = 64 << 20
"""Most bytes of a task's log that are stored."""
_LOG_END: Final = b"(the rest is left out)\n"


class Recorder:
    """Stores a trial's events in one file, and each task's log in another."""

    def __init__(
        self,
        store: SweepStore,
        spec: TrialSpec,
        placement: Mapping[str, str],
        observer: Observer,
    ) -> None:
        self._spec = spec
        self._placement = placement
        self._observer = observer
        self._events = store.event_writer(spec)
        self._log_dir: Path = store.log_dir(spec)
        self._logs: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        for log in self._logs.values():
            log.close()

    def record(self, event: AnyEvent) -> None:
        """Store an event and show it."""
        if isinstance(event, Log):
            self._log(event)
            return
        self._events.write(event)
        self._observer.event(self._spec, event)

    def _log(self, event: Log) -> None:
        """Add a line to the log of its task, which may be the agent."""
        task, host = event.task, self._placement.get(event.task)
        if host is None and task != AGENT:
            raise ValueError(f"expected a task of the trial, found {task!r}")
        if task not in self._logs:
            path = self._log_dir / f"{task.replace(':', '-')}.log"
            with writing(path):
                self._logs[task] = path.open("ab")
        log, place = self._logs[task], f"{task} on {host}" if host else task
        size_bytes = log.tell()
        if size_bytes < LOG_BYTES:
            line = f"{place} | {event.line}\n".encode(errors="backslashreplace")
            is_last = size_bytes + len(line) >= LOG_BYTES
            with writing(self._log_dir):
                log.write(line + (_LOG_END if is_last else b""))
                log.flush()
