"""The checks of the chaos suite: that they find what they are there to find."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support import SUPPORT

from benchmarks.chaos import figures, promises, sections
from benchmarks.chaos.damage import KINDS, TRIALS
from benchmarks.chaos.faults import FAULTS, QUICK
from benchmarks.chaos.promises import DEGRADED, FAILED, OK
from benchmarks.chaos.records import Figures, Record, read, rows, write
from benchmarks.chaos.strikes import Strike
from benchmarks.chaos.suite import drawn_evenly
from benchmarks.chaos.sweeps import BATCH, EPOCH_STEPS, EPOCHS, PACE_MS, WARMUP_STEPS, Timeline
from dnnbench.trial.machine import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORKERS = ("worker:0", "worker:1")
TASKS = {"ps:0", *WORKERS}
LINE = Timeline(10.0, 12.0, {"worker:0": 15.0, "worker:1": 16.0}, 18.0, {})
EPOCH_S = EPOCH_STEPS * PACE_MS / 1e3


class Stored:
    """A sweep with one made-up outcome, which is right until a test changes it."""

    tasks = TASKS
    age_s = 60.0

    def __init__(self) -> None:
        pushed = len(WORKERS) * (EPOCHS * EPOCH_STEPS + WARMUP_STEPS)
        self.outcome: dict[str, Any] = {
            "order": {
                "nodes": 3,
                "protocol": {"name": "downpour"},
                "data": {"train_examples": EPOCH_STEPS * BATCH},
            },
            "status": "ok",
            "duration_s": 2.0 + EPOCHS * EPOCH_S,
            "training_s": 1.0 + EPOCHS * EPOCH_S,
            "updates_pushed": pushed,
            "updates_applied": [pushed],
            "lost_workers": [],
            "failure": None,
            "epochs": [
                {
                    "task": task,
                    "epoch": epoch,
                    "steps": EPOCH_STEPS,
                    "examples": EPOCH_STEPS * BATCH,
                    "duration_s": EPOCH_S,
                    "staleness": {"counts": [EPOCH_STEPS]},
                }
                for task in WORKERS
                for epoch in range(1, EPOCHS + 1)
            ],
            "evaluations": [{"epoch": None, "test_accuracy": 0.5}],
        }

    def outcomes(self) -> dict[str, Any]:
        return {"n03-downpour-r01": self.outcome}

    def wrong(self) -> list[str]:
        return figures.wrong_records(self)  # type: ignore[arg-type]

    def wrong_report(self, **changes: Any) -> list[str]:
        cell = {
            "nodes": 3,
            "protocol": "downpour",
            "n": 1,
            "epoch_s": {"mean": EPOCH_S},
            "test_accuracy": {"mean": 0.5},
        }
        report = json.dumps({"cells": [cell | changes]})
        return figures.wrong_report(self.outcomes(), report)


def test_right_figures_are_not_called_wrong() -> None:
    assert Stored().wrong() == []
    assert Stored().wrong_report() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda outcome: outcome["epochs"].pop(),
        lambda outcome: outcome["epochs"].append(outcome["epochs"][0]),
        lambda outcome: outcome["epochs"][3].update(examples=1),
        lambda outcome: outcome["epochs"][3].update(duration_s=EPOCH_S / 2),
        lambda outcome: outcome["epochs"][3].update(duration_s=50.0),
        lambda outcome: outcome["epochs"][3]["staleness"].update(counts=[EPOCH_STEPS - 1]),
        lambda outcome: outcome.update(updates_pushed=1),
        lambda outcome: outcome.update(updates_applied=[1]),
        lambda outcome: outcome.update(duration_s=61.0),
    ],
)
def test_a_wrong_record_is_found(change: Callable[[dict[str, Any]], object]) -> None:
    stored = Stored()
    change(stored.outcome)
    assert stored.wrong()


@pytest.mark.parametrize(
    "changes", [{"n": 2}, {"epoch_s": {"mean": EPOCH_S + 1e-6}}, {"test_accuracy": None}]
)
def test_a_report_of_other_means_is_found(changes: dict[str, Any]) -> None:
    assert Stored().wrong_report(**changes)


def test_a_degraded_trial_in_an_average_is_found() -> None:
    stored = Stored()
    stored.outcome["status"] = "degraded"
    assert stored.wrong_report()
    assert stored.wrong_report(n=0, epoch_s=None, test_accuracy=None) == []


@pytest.mark.parametrize(
    ("tasks", "at_s", "allowed"),
    [
        ({"worker:1"}, 11.0, {FAILED}),
        ({"worker:1"}, 12.1, {FAILED, DEGRADED}),
        ({"worker:1"}, 14.0, {DEGRADED}),
        ({"worker:0"}, 15.2, {OK, DEGRADED, FAILED}),
        ({"worker:0", "worker:1"}, 14.0, {FAILED}),
        ({"ps:0"}, 14.0, {FAILED}),
        ({"ps:0"}, 17.0, {OK, FAILED}),
    ],
)
def test_what_is_promised_depends_on_who_was_lost_and_when(
    tasks: set[str], at_s: float, allowed: set[str]
) -> None:
    assert promises.statuses_without(tasks, at_s, LINE) == allowed


@pytest.mark.parametrize(
    ("task", "host", "is_right"),
    [("ps:0", "node1", True), ("worker:0", "node2", False), (None, "node1", False)],
)
def test_who_is_blamed_in_place_of_the_target_is_named(
    task: str | None, host: str, *, is_right: bool
) -> None:
    strike = Strike(0.0, "ps:0", frozenset({"ps:0"}), frozenset({"node1"}), is_task=True)
    cause = {"task": task, "host": host, "kind": None, "cause": "x"}
    outcome = {"status": "failed", "lost_workers": [], "failure": cause}
    assert bool(promises.wrong_culprit(strike, outcome)) is not is_right


def test_faults_are_drawn_evenly_in_all_of_their_places() -> None:
    drawn = drawn_evenly(FAULTS, 200)
    assert len(drawn) == 200
    assert {fault for fault, _ in drawn} == set(FAULTS)
    for fault in FAULTS:
        places = [place for drawn_fault, place in drawn if drawn_fault is fault]
        assert set(places) == set(fault.places)
        counts = [places.count(place) for place in fault.places]
        assert max(counts) - min(counts) <= 1


def test_every_text_of_the_quick_suite_is_in_a_name() -> None:
    names = [*(fault.name for fault in FAULTS), *(kind.name for kind in KINDS)]
    assert len(set(names)) == len(names)
    assert all(any(text in name for name in names) for text in QUICK)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.is_data], ids=lambda k: k.name)
def test_damage_is_the_same_for_a_seed_and_is_where_it_says(tmp_path: Path, kind: Any) -> None:
    import random
    import shutil

    source = next((SUPPORT / "stored" / "results").glob("*"))
    found = []
    for name in ("first", "second"):
        copy = tmp_path / name
        shutil.copytree(source, copy)
        damaged = kind.inflict(copy, random.Random(7))
        found.append((damaged.path.name, damaged.what, damaged.line))
        before = (source / damaged.path.name).read_bytes()
        assert not damaged.path.is_file() or damaged.path.read_bytes() != before
        if damaged.line:
            old, new = before.split(b"\n"), damaged.path.read_bytes().split(b"\n")
            assert damaged.path.name == TRIALS
            assert [n for n, (a, b) in enumerate(zip(old, new, strict=True), 1) if a != b] == [
                damaged.line
            ]
    assert found[0] == found[1]


def test_figures_are_stored_and_become_a_table_with_every_failure(tmp_path: Path) -> None:
    well = Record(1, FAULTS[0].name, "local", "training", "worker:1", "degraded")
    badly = msgspec.structs.replace(
        well, number=2, place="hosts", broken=["exit code 1"], left=["agent 7 on node1"], hang="x"
    )
    records = [well, badly]
    (row, total) = rows(records, [FAULTS[0].name])
    assert (row.injected, row.survived, row.left, row.hangs) == (2, 1, 1, 1)
    assert row.places == "local, hosts"
    assert total == msgspec.structs.replace(row, fault="all")
    path = tmp_path / "figures.json"
    stored = Figures(1, 2, True, snapshot(), (0.0, 0.0, 0.0), 60.0, 0, records)
    write(stored, path)
    assert read(path) == stored
    text = sections.sections(read(path))["faults"]
    assert "exit code 1; left behind: agent 7 on node1; x" in text
