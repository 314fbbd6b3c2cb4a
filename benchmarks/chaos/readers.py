"""Commands that read damaged files: they refuse them by name, or all figures stand."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from random import Random
from typing import TYPE_CHECKING, Any, Final

from benchmarks.chaos.damage import make_arrays
from benchmarks.chaos.records import Record
from benchmarks.processes import environment, python

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.chaos.damage import Damaged, Kind

_EXIT_DAMAGED: Final = 3
_INCOMPLETE: Final = "incomplete after a crash"
"""Of an outcome that a resumed sweep repeats."""
_TIMEOUT_S: Final = 60.0
_OTHERS: Final = (("cost",), ("run", "--dry-run", "--resume"))
"""Readers that have to refuse what ``report`` refuses; before the path of a sweep."""


class Bench:
    """Sound results and data, and what commands say of copies that are damaged.

    Args:
        directory: to work in.
        results: of a finished sweep.
        seed: of all damage.
    """

    def __init__(self, directory: Path, results: Path, seed: str) -> None:
        directory.mkdir()
        self._directory = directory
        self._results = results
        self._data = directory / "data"
        make_arrays(self._data)
        self._seed = seed
        self._sound: dict[bool, str] = {}

    def try_out(self, number: int, kind: Kind) -> Record:
        """Damage a copy, and have commands read it."""
        start_s = time.monotonic()
        rng = Random(f"{self._seed}/{number}")
        source = self._data if kind.is_data else self._results
        copy = self._directory / f"{number}" / source.name
        shutil.copytree(source, copy)
        damaged = kind.inflict(copy, rng)
        read = self._read_data if kind.is_data else self._read_results
        hang = outcome = ""
        broken: list[str] = []
        wrong: list[str] = []
        try:
            outcome, broken, wrong = read(copy, damaged, rng)
        except subprocess.TimeoutExpired as error:
            hang = f"no end within {error.timeout:g} s: {' '.join(map(str, error.cmd))}"
        return Record(
            number=number,
            fault=kind.name,
            place="local",
            moment="between two commands",
            target=f"{damaged.path.name}: {damaged.what}",
            outcome=outcome,
            broken=broken,
            wrong_figures=wrong,
            hang=hang,
            duration_s=time.monotonic() - start_s,
        )

    def _read_results(
        self, copy: Path, damaged: Damaged, rng: Random
    ) -> tuple[str, list[str], list[str]]:
        if False not in self._sound:
            self._sound[False] = self._call("report", str(self._results), "--format", "json").stdout
        done = self._call("report", str(copy), "--format", "json")
        line = _last_line(done)
        if done.returncode:
            broken = _not_refused_well(done, damaged)
            other = rng.choice(_OTHERS)
            theirs = self._call(*other, str(copy))
            may_resume = other[0] == "run" and _INCOMPLETE in line and not theirs.returncode
            if not may_resume and (theirs.returncode, _last_line(theirs)) != (
                done.returncode,
                line,
            ):
                broken.append(f"{other[0]} ended with {theirs.returncode}: {_last_line(theirs)}")
            return line, broken, []
        ours = json.loads(done.stdout)["cells"]
        wrong = _changed(json.loads(self._sound[False])["cells"], ours, damaged)
        return f"reported {line}".strip(), [], wrong

    def _read_data(
        self, copy: Path, damaged: Damaged, _rng: Random
    ) -> tuple[str, list[str], list[str]]:
        arguments = ("run", "--dry-run", "--json", "--nodes", "2", "--dataset")
        if True not in self._sound:
            self._sound[True] = self._call(*arguments, f"directory:{self._data}").stdout
        done = self._call(*arguments, f"directory:{copy}")
        if done.returncode:
            return _last_line(done), _not_refused_well(done, damaged), []
        digests = [_digest(text) for text in (self._sound[True], done.stdout)]
        wrong = [] if digests[0] == digests[1] else ["other data were taken without a word"]
        return "the data are the same", [], wrong

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            python("-m", "dnnbench", *arguments),
            cwd=self._directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )


def _not_refused_well(done: subprocess.CompletedProcess[str], damaged: Damaged) -> list[str]:
    """Return what is wrong with a refusal: its code, or a place that it does not name."""
    line = _last_line(done)
    # A missing or odd file may be named by its directory, which lacks a sweep or arrays.
    places = [str(damaged.path), str(damaged.path.parent)]
    if damaged.line:
        places = [f"{damaged.path}:{damaged.line}"]
    broken = []
    if done.returncode != _EXIT_DAMAGED:
        broken.append(f"exit code {done.returncode}: {line}")
    if not any(place in line for place in places) or "bug:" in line or "Traceback" in done.stderr:
        broken.append(f"{damaged.path.name} {damaged.what} is not named: {line}")
    return broken


def _changed(
    sound: Sequence[dict[str, Any]], cells: Sequence[dict[str, Any]], damaged: Damaged
) -> list[str]:
    """Return the cells whose figures differ, though no trial is shown to be missing."""
    ours = {(cell["nodes"], cell["protocol"]): cell for cell in cells}
    wrong = []
    for cell in sound:
        key = cell["nodes"], cell["protocol"]
        found = ours.get(key)
        is_missing = found is not None and found["n"] == 0 and found["missing"] > 0
        if found != cell and (damaged.is_lossless or not is_missing):
            wrong.append(f"{key} differs after {damaged.path.name}: {damaged.what}")
    return wrong


def _digest(plan: str) -> str:
    return str(json.loads(plan)["orders"][0]["data"]["digest"])


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or [""])[-1]
