"""Records of injected faults, as they are stored, and their sum by kind of fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchmarks.processes import BenchmarkError
from dnnbench.sweep.documents import write_whole
from dnnbench.trial.machine import MachineSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CONTROL = "none (control)"


class Record(msgspec.Struct, frozen=True):
    """One injected fault, and what came of it.

    Attributes:
        number: of the case among those that were drawn; equal for faults in copies of one sweep.
        place: ``local`` or ``hosts``.
        moment: when it struck.
        target: what it struck.
        outcome: what came of the trial and the command.
        broken: promises that were not kept, one line each; empty if it was survived as promised.
        results_lost: finished trials that were no longer in the results.
        wrong_figures: figures that differ from an independent recomputation, one line each.
        left: processes left behind.
        hang: what did not end; empty if all did.
        wrong_culprit: who was blamed instead of the target; empty if nobody.
        duration_s: of the whole case.
    """

    number: int
    fault: str
    place: str
    moment: str
    target: str
    outcome: str
    broken: list[str] = []
    results_lost: int = 0
    wrong_figures: list[str] = []
    left: list[str] = []
    hang: str = ""
    wrong_culprit: str = ""
    duration_s: float = 0.0

    @property
    def is_survived(self) -> bool:
        """Whether every promise was kept."""
        return not self.problems

    @property
    def problems(self) -> list[str]:
        """All that went wrong, one line each."""
        lost = [f"{self.results_lost} finished trials lost"] if self.results_lost else []
        left = [f"left behind: {', '.join(self.left)}"] if self.left else []
        others = [text for text in (self.hang, self.wrong_culprit) if text]
        return [*self.broken, *lost, *self.wrong_figures, *left, *others]


class Figures(msgspec.Struct, frozen=True):
    """The records of one suite, and the conditions under which it ran.

    Attributes:
        missed: injections that found their target already gone; drawn again, not counted.
        load_after: load averages at the end.
    """

    seed: int
    jobs: int
    quick: bool
    before: MachineSnapshot
    load_after: tuple[float, float, float]
    duration_s: float
    missed: int
    records: list[Record]

    @property
    def injected(self) -> list[Record]:
        """The records of faults, without the controls."""
        return [record for record in self.records if record.fault != CONTROL]


class Row(msgspec.Struct, frozen=True):
    """The sum of some records: one row of the table."""

    fault: str
    places: str
    injected: int
    survived: int
    results_lost: int
    wrong_figures: int
    left: int
    hangs: int
    wrong_culprits: int

    @classmethod
    def of(cls, fault: str, records: Sequence[Record]) -> Row:
        """Sum up records."""
        return cls(
            fault=fault,
            places=", ".join(sorted({record.place for record in records}, reverse=True)),
            injected=len(records),
            survived=sum(record.is_survived for record in records),
            results_lost=sum(record.results_lost for record in records),
            wrong_figures=sum(len(record.wrong_figures) for record in records),
            left=sum(len(record.left) for record in records),
            hangs=sum(bool(record.hang) for record in records),
            wrong_culprits=sum(bool(record.wrong_culprit) for record in records),
        )

    @property
    def cells(self) -> dict[str, str | int]:
        """The row under the headings of the table."""
        return {
            "fault": self.fault,
            "on": self.places,
            "injected": self.injected,
            "survived as promised": self.survived,
            "results lost": self.results_lost,
            "wrong figures": self.wrong_figures,
            "processes left": self.left,
            "hangs": self.hangs,
            "wrong culprit": self.wrong_culprits,
        }


def rows(records: Iterable[Record], order: Sequence[str]) -> list[Row]:
    """Return a row per kind of fault, in the given order, and their sum."""
    found: dict[str, list[Record]] = {name: [] for name in order}
    for record in records:
        found[record.fault].append(record)
    parts = [Row.of(name, of) for name, of in found.items() if of]
    everything = [record for of in found.values() for record in of]
    return [*parts, Row.of("all", everything)]


def write(figures: Figures, path: Path) -> None:
    """Write the figures as JSON, one line per record."""
    head = msgspec.to_builtins(figures)
    lines = ",\n".join(msgspec.json.encode(record).decode() for record in head.pop("records"))
    text = msgspec.json.encode(head).decode().removesuffix("}")
    write_whole(path, f'{text},\n"records":[\n{lines}\n]}}\n'.encode())


def read(path: Path) -> Figures:
    """Read what `write` wrote.

    Raises:
        BenchmarkError: it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Figures)
    except (OSError, msgspec.DecodeError) as error:
        raise BenchmarkError(f"{path}: {error}; write it with `run`") from None
