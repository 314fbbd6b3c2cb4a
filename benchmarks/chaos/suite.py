"""Draw faults from a seed and carry them out, several side by side, each on hosts of its own."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import time
import traceback
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from benchmarks.chaos.cases import Case, carry_out
from benchmarks.chaos.damage import KINDS
from benchmarks.chaos.faults import BOTH, CONTROL, FAULTS, LOCAL
from benchmarks.chaos.places import hide_mounts, place
from benchmarks.chaos.readers import Bench
from benchmarks.chaos.records import Figures, Record, read, write
from benchmarks.chaos.sweeps import (
    EarlyEndError,
    MissedError,
    Moment,
    Patience,
    StoppedError,
)
from benchmarks.harness import note
from benchmarks.processes import BenchmarkError, python, timed_run
from dnnbench.trial.machine import load_average, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.chaos.cases import Fault
    from benchmarks.chaos.damage import Kind
    from benchmarks.chaos.places import Place

_MOST_MISSES: Final = 8
"""Of one case, after which its target is taken to be out of reach."""
_DAMAGE_SHARE: Final = 0.4
"""Of all faults: damage to files, of which many are tried on copies of one sweep."""
_BATCH: Final = 5
"""Copies that are damaged in one go, so that the cores are shared with other cases."""

_QUIET_IMPORT_S: Final = 4.0
_IMPORT_TIMEOUT_S: Final = 300.0


class Options(NamedTuple):
    """Options of a suite.

    Attributes:
        faults: number of them, controls not counted.
        only: texts, of which the names of the faults have one; empty for all.
        figures: where to write after each case; cases whose records are there are not repeated.
        again: repeat those whose promises were not kept, as after something was mended.
    """

    seed: int
    faults: int
    jobs: int
    quick: bool
    only: tuple[str, ...]
    figures: Path | None
    again: bool

    def admits(self, name: str) -> bool:
        """Return whether a fault is one of those to inject."""
        return not self.only or any(text in name for text in self.only)


class Suite:
    """Cases that wait to be carried out, and the records of those that were."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = threading.Event()
        self._waiting: SimpleQueue[Callable[[Place], list[Record]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._directory = Path()
        self._patience = Patience.on(1.0)
        self._sound: Path | None = None
        self._bench: Bench | None = None
        self._before = snapshot()
        self._start_s = time.monotonic()
        self._earlier = self._read_earlier()
        self._missed = self._earlier.missed if self._earlier else 0
        self.records = list(self._earlier.records) if self._earlier else []

    def run(self) -> Figures:
        """Carry out all cases.

        Raises:
            BenchmarkError: no hosts can be made here.
            KeyboardInterrupt: after everything has ended.
        """
        hide_mounts()
        self._patience = Patience.on(_slowness())
        options = self._options
        with tempfile.TemporaryDirectory(prefix="chaos-") as name:
            self._directory = Path(name)
            self._draw()
            with ThreadPoolExecutor(options.jobs) as pool:
                places = (self._directory / f"job{number}" for number in range(options.jobs))
                jobs = [pool.submit(self._work, path) for path in places]
                try:
                    wait(jobs, return_when=FIRST_EXCEPTION)
                finally:
                    self._stop.set()
                    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows takes a moment
            for job in jobs:
                job.result()
        return self.figures()

    def _read_earlier(self) -> Figures | None:
        """Return what an earlier command found that was interrupted.

        Raises:
            BenchmarkError: it had another seed.
        """
        path = self._options.figures
        if path is None or not path.exists():
            return None
        found = read(path)
        if (found.seed, found.quick) != (self._options.seed, self._options.quick):
            raise BenchmarkError(f"{path}: is of another suite; remove it, or name another file")
        if self._options.again:
            kept = [record for record in found.records if record.is_survived]
            found = msgspec.structs.replace(found, records=kept)
        return found

    def _draw(self) -> None:
        """Draw all cases: the controls first, whose sweeps are those that are damaged."""
        options = self._options
        rng = Random(options.seed)
        known = [fault for fault in FAULTS if options.admits(fault.name)]
        kinds = [kind for kind in KINDS if options.admits(kind.name)]
        damaged = round(options.faults * (_DAMAGE_SHARE if known else 1)) if kinds else 0
        drawn = drawn_evenly(known, options.faults - damaged) if known else []
        rng.shuffle(drawn)
        number = 0
        for where in BOTH if kinds else ():
            self._add_case(number, CONTROL, where)
            number += 1
        half = len(drawn) // 2
        for fault, where in drawn[:half]:
            self._add_case(number, fault, where)
            number += 1
        for first in range(0, damaged, _BATCH):
            count = min(_BATCH, damaged - first)
            here = {
                number + n: kinds[n % len(kinds)]
                for n in range(first, first + count)
                if not self._is_done(number + n)
            }
            self._waiting.put(partial(self._damage, here))
        number += damaged
        for fault, where in drawn[half:]:
            self._add_case(number, fault, where)
            number += 1

    def _is_done(self, number: int) -> bool:
        """Return whether a fault of this number is among the earlier records."""
        known = self._earlier.injected if self._earlier else []
        return any(record.number == number for record in known)

    def _damage(self, kinds: dict[int, Kind], _place: Place) -> list[Record]:
        """Damage files, of results of the first control among others."""
        with self._lock:
            if self._bench is None:
                if self._sound is None:
                    raise BenchmarkError("no control has ended well, so no results can be damaged")
                self._bench = Bench(self._directory / "bench", self._sound, str(self._options.seed))
            bench = self._bench
        records = []
        for number, kind in kinds.items():
            if self._stop.is_set():
                raise StoppedError
            records.append(bench.try_out(number, kind))
        return records

    def _add_case(self, number: int, fault: Fault, where: str) -> None:
        def task(here: Place) -> list[Record]:
            for attempt in range(_MOST_MISSES):
                rng = Random(f"{self._options.seed}/{number}/{attempt}")
                phase = rng.choice(fault.phases)
                trial = 0 if phase == "start" else rng.randrange(2)
                moment = Moment(phase, trial, rng.random())
                nodes = rng.choice((3, 4)) if where in LOCAL else 3
                name = f"case{number}-{attempt}"
                case = Case(number, name, fault, where, nodes, moment, rng)
                try:
                    record = carry_out(case, here, self._patience, self._stop)
                except MissedError as error:
                    note(f"{number}: {fault.name} missed: {error}")
                    with self._lock:
                        self._missed += 1
                    continue
                except EarlyEndError as error:  # a sweep without a fault has failed
                    self._note([_failed(case, CONTROL.name, str(error))])
                    continue
                except StoppedError:
                    raise
                except Exception as error:  # noqa: BLE001 - the other cases go on
                    traceback.print_exc()
                    return [_failed(case, fault.name, f"the suite failed: {error!r}")]
                if fault is CONTROL and record.is_survived:
                    (self._sound,) = here.directory.glob(f"{name}/results/*")
                return [record]
            note(f"{number}: {fault.name} on {where}: given up after {_MOST_MISSES} tries")
            return []

        if not self._is_done(number):
            self._waiting.put(task)

    def _work(self, directory: Path) -> None:
        """Carry out cases in a place of its own until none waits."""
        with contextlib.suppress(StoppedError), place(directory) as here:
            while not self._stop.is_set():
                try:
                    task = self._waiting.get_nowait()
                except Empty:
                    return
                self._note(task(here))

    def _note(self, records: list[Record]) -> None:
        with self._lock:
            self.records += records
            figures = self.figures()
            if self._options.figures:
                write(figures, self._options.figures)
        for record in records:
            verdict = "; ".join(record.problems) or "as promised"
            note(
                f"{len(figures.injected)}/{self._options.faults} {record.fault}, {record.place}, "
                f"{record.moment}, {record.target}: {record.outcome} "
                f"({record.duration_s:.0f} s): {verdict}"
            )

    def figures(self) -> Figures:
        """Return what was found so far."""
        before = self._earlier.before if self._earlier else self._before
        earlier_s = self._earlier.duration_s if self._earlier else 0.0
        return Figures(
            seed=self._options.seed,
            jobs=self._options.jobs,
            quick=self._options.quick,
            before=before,
            load_after=load_average(),
            duration_s=earlier_s + time.monotonic() - self._start_s,
            missed=self._missed,
            records=sorted(self.records, key=lambda record: record.number),
        )


def drawn_evenly(faults: Sequence[Fault], count: int) -> list[tuple[Fault, str]]:
    """Return that many pairs of fault and place, each as often as its share says.

    A fault is injected in all of its places in turn.
    """
    turns = [
        ((turn + 0.5) / fault.share, index, turn)
        for index, fault in enumerate(faults)
        for turn in range(count)
    ]
    return [
        (fault, fault.places[turn % len(fault.places)])
        for _, index, turn in sorted(turns)[:count]
        for fault in (faults[index],)
    ]


def _slowness() -> float:
    """Return by what factor this machine is slower than a quiet one, at present."""
    took_s = timed_run(python("-c", "import tensorflow"), _IMPORT_TIMEOUT_S, Path.cwd())
    return max(took_s / _QUIET_IMPORT_S, 1.0)


def _failed(case: Case, fault: str, problem: str) -> Record:
    return Record(
        number=case.number,
        fault=fault,
        place=case.place,
        moment=str(case.moment),
        target="nothing",
        outcome="failed",
        broken=[problem],
    )
