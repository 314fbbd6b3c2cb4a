"""The directory of a sweep, results/<sweep>/: settings, plan, machines, outcomes as they come.

config.json  environment.json  plan.json      documents, replaced as a whole
trials.jsonl                                  a header, then one outcome per line; append-only
trials/<trial>[-attempt<n>]/                  order.json, events.jsonl, logs/<task>.log
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import msgspec

from dnnbench.errors import ResultsError
from dnnbench.settings.schema import Resolved
from dnnbench.settings.textfile import open_regular
from dnnbench.sweep.documents import (
    check_header,
    decode,
    header_line,
    read_document,
    sync_directory,
    write_document,
    writing,
)
from dnnbench.sweep.plan import Plan
from dnnbench.sweep.stored_checks import odd_in_outcome, odd_in_plan
from dnnbench.sweep.void import with_void
from dnnbench.trial.machine import MachineSnapshot
from dnnbench.trial.outcome import TrialOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from dnnbench.trial.spec import TrialSpec


TRIALS: Final = "trials.jsonl"
ENVIRONMENT: Final = "environment.json"
_HEADER_BYTES: Final = 1000
_LINE_BYTES: Final = 64_000_000
"""Longest line of outcomes; 1,000 nodes with 100 epochs have about 40 MB."""
_BLOCK_BYTES: Final = 1 << 20
_outcome_decoder: Final = msgspec.json.Decoder(TrialOutcome)


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One start or resumption of a sweep, perhaps after an upgrade or a reboot.

    Attributes:
        before: the machine on which it was started.
        load_after: load average there at its end; None while it runs, or if it was killed.
        hosts: host -> the snapshot from its agent; empty until one is ready.
    """

    before: MachineSnapshot
    load_after: tuple[float, float, float] | None = None
    hosts: dict[str, MachineSnapshot] = {}


class EventWriter:
    """Writes events.jsonl: one JSON line per event, flushed after each, fsynced on close."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encoder = msgspec.json.Encoder()
        with writing(path):
            self._file = path.open("xb")
            self._file.write(header_line("events"))
            self._file.flush()

    def write(self, event: Any) -> None:
        """Append an event: a struct or a JSON value."""
        with writing(self.path):
            self._file.write(self._encoder.encode(event) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Fsync and close the file. Idempotent."""
        if not self._file.closed:
            with writing(self.path), self._file:
                os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SweepStore:
    """A sweep's directory.

    Attributes:
        path: the directory.
        notes: for the reader, such as on an outcome that a crash left incomplete.
        earlier: outcomes of attempts before a trial's last one, as of the last reading.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.earlier: list[TrialOutcome] = []
        self._attempts: dict[str, Path] = {}
        self._sessions: list[Session] = []

    @property
    def name(self) -> str:
        """The sweep's name, which is its directory's."""
        return self.path.name

    @cached_property
    def resolved(self) -> Resolved:
        """The settings, and where each came from."""
        return read_document(self.path / "config.json", "config", Resolved)

    @cached_property
    def plan(self) -> Plan:
        """The plan, with the trials in the order in which they run."""
        path = self.path / "plan.json"
        plan = read_document(path, "plan", Plan)
        if problem := odd_in_plan(plan, self.resolved.config):
            raise ResultsError(f"is damaged: {problem}", where=str(path))
        return plan

    def sessions(self) -> list[Session]:
        """Return the machines that the sweep ran on, one entry per start or resumption.

        If their file is lost, return those that this process has recorded or read before.
        """
        path = self.path / ENVIRONMENT
        if path.exists():
            self._sessions = read_document(path, "environment", list[Session])
        if not self._sessions:
            self._note(f"{path}: does not tell what machines the sweep ran on")
        return self._sessions

    def begin_session(self, environment: MachineSnapshot) -> None:
        """Record the machine of a resumed sweep; `create` records the first one."""
        self._write_sessions([*self.sessions(), Session(environment)])

    def end_session(self, load_average: tuple[float, float, float]) -> None:
        """Record the load at the end of the newest session."""
        *earlier, last = self.sessions()
        last = msgspec.structs.replace(last, load_after=load_average)
        self._write_sessions([*earlier, last])

    def note_hosts(self, hosts: Mapping[str, MachineSnapshot]) -> None:
        """Record hosts of the newest session, beside those already recorded for it."""
        *earlier, last = self.sessions()
        last = msgspec.structs.replace(last, hosts={**last.hosts, **hosts})
        self._write_sessions([*earlier, last])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the sweep for running; reading needs no lock.

        The kernel releases the lock when the process ends, however it ends.

        Raises:
            ResultsError: another process runs this sweep, or there is no file to lock.
        """
        with _opened(self.path / "lock", "a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read(_HEADER_BYTES).decode(errors="replace").strip()
                raise ResultsError(
                    f"is being run by process {holder or '?'}",
                    where=str(self.path),
                    remedy="wait for it, or stop it first",
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            file.flush()
            yield

    def append(self, outcome: TrialOutcome) -> None:
        """Append and fsync an outcome, which ends the trial's attempt."""
        path = self.path / TRIALS
        with writing(path), _opened(path, "r+b") as file:
            check_header(file.readline(_HEADER_BYTES), "trials", f"{path}:1")
            _mend(file)
            file.write(msgspec.json.encode(outcome) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self.path)
        self._attempts.pop(outcome.order.id, None)

    def outcomes(self) -> list[TrialOutcome]:
        """Return the last outcome of every trial, in the order in which they were stored.

        Successes in a void cell have the status ``void``. Outcomes of earlier attempts are in
        ``earlier``.

        Raises:
            ResultsError: a line is damaged. A torn last line, as a crash leaves it, is only noted.
        """
        return with_void(self._last_outcomes(), self.plan)

    def _last_outcomes(self) -> list[TrialOutcome]:
        """Return the last outcome of every trial as it was stored; keep the others."""
        path = self.path / TRIALS
        planned = {order.id: order for order in self.plan.orders}
        latest: dict[str, TrialOutcome] = {}
        self.earlier = []
        try:
            with open_regular(path, ResultsError) as file:
                check_header(file.readline(_HEADER_BYTES), "trials", f"{path}:1")
                for number, line in enumerate(_lines(file, str(path)), start=2):
                    outcome = self._outcome(line, f"{path}:{number}", planned)
                    if outcome is not None:
                        if before := latest.pop(outcome.order.id, None):
                            self.earlier.append(before)
                        latest[outcome.order.id] = outcome
        except OSError as error:
            raise ResultsError(f"cannot be read: {error.strerror}", where=str(path)) from None
        return list(latest.values())

    def _outcome(
        self, line: bytes, where: str, planned: Mapping[str, TrialSpec]
    ) -> TrialOutcome | None:
        """Return the outcome on a line; None if a crash left the line incomplete."""
        try:
            outcome = decode(_outcome_decoder, line, where)
        except ResultsError:
            if line.endswith(b"\n"):
                raise
            self._note(f"{where}: is incomplete after a crash, and is not counted")
            return None
        if problem := odd_in_outcome(outcome, self.plan, planned.get(outcome.order.id)):
            raise ResultsError(f"is damaged: {problem}", where=where)
        return outcome

    def pending(self) -> list[TrialSpec]:
        """Return the trials without a result, including failed and interrupted ones, in order.

        A degraded trial has none for its cell: it had fewer workers, or an interruption.
        A diverged trial has its result: to repeat it until it survives would bias the means.
        """
        done = {o.order.id for o in self._last_outcomes() if o.status in ("ok", "diverged")}
        return [order for order in self.plan.orders if order.id not in done]

    def has_outcomes(self) -> bool:
        """Return whether any trial has an outcome, without reading the outcomes."""
        try:
            with open_regular(self.path / TRIALS, ResultsError) as file:
                file.readline(_HEADER_BYTES)
                return file.readline(_LINE_BYTES).endswith(b"\n")
        except (OSError, ResultsError):
            return False

    def event_writer(self, order: TrialSpec) -> EventWriter:
        """Open the event file of the trial's attempt; once per attempt."""
        return EventWriter(self._attempt(order) / "events.jsonl")

    def log_dir(self, order: TrialSpec) -> Path:
        """Return the directory for ``<task>.log`` of the trial's attempt."""
        return self._attempt(order) / "logs"

    def _attempt(self, order: TrialSpec) -> Path:
        """Return the directory of the current attempt; make one if there is none."""
        if order.id not in self._attempts:
            self._attempts[order.id] = self._new_attempt(order)
        return self._attempts[order.id]

    def _new_attempt(self, order: TrialSpec) -> Path:
        trials = self.path / "trials"
        number, folder = 1, trials / order.id
        while folder.exists():
            number += 1
            folder = trials / f"{order.id}-attempt{number}"
        with writing(folder):
            folder.mkdir()  # not its parents: results that somebody removed do not come back
            (folder / "logs").mkdir()
            write_document(folder / "order.json", "order", order)
            sync_directory(trials)
        return folder

    def _write_sessions(self, sessions: list[Session]) -> None:
        write_document(self.path / ENVIRONMENT, "environment", sessions)
        self._sessions = sessions

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _lines(file: BinaryIO, where: str) -> Iterator[bytes]:
    """Yield the lines of a file; only the last one may lack its newline."""
    while line := file.readline(_LINE_BYTES):
        if len(line) == _LINE_BYTES and not line.endswith(b"\n"):
            problem = f"is damaged: expected lines below {_LINE_BYTES / 1e6:g} MB, found more"
            raise ResultsError(problem, where=where)
        yield line


def _opened(path: Path, mode: str) -> BinaryIO:
    """Open a file of a sweep to write, which a named pipe or a device in its place cannot be.

    Raises:
        ResultsError: it cannot be opened, or is no regular file.
    """
    if path.exists() and not path.is_file():
        raise ResultsError("expected a regular file", where=str(path))
    with writing(path):
        return cast("BinaryIO", path.open(mode))


def _mend(file: BinaryIO) -> None:
    """Go to the end of the file; first complete or cut off a line that a crash left torn."""
    end = size = file.seek(0, os.SEEK_END)
    tail = b""
    while end and b"\n" not in tail:
        start = max(end - _BLOCK_BYTES, 0)
        file.seek(start)
        tail = file.read(end - start) + tail
        end = start
    tail = tail.rpartition(b"\n")[2]
    file.seek(0, os.SEEK_END)
    if not tail:
        return
    try:
        decode(_outcome_decoder, tail, "")
    except ResultsError:
        file.truncate(size - len(tail))
        file.seek(0, os.SEEK_END)
    else:
        file.write(b"\n")
