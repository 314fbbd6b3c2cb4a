from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from dnnbench.errors import ResultsError
from dnnbench.settings.schema import Config, Resolved
from dnnbench.sweep import results
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.recorder import Recorder
from dnnbench.sweep.results import NameTakenError, create, new_sweep_id, open_sweep
from dnnbench.trial.machine import snapshot
from dnnbench.trial.messages import Log
from dnnbench.trial.outcome import EpochRecord, Staleness, Status, TrialOutcome
from dnnbench.trial.spec import DataSpec, TrialSpec

if TYPE_CHECKING:
    from dnnbench.sweep.store import SweepStore

ENVIRONMENT = snapshot()


def make(results: Path, name: str = "2026-11-22T14-28-41Z") -> SweepStore:
    plan = make_plan(Config(), DataSpec("mnist", None, "0" * 64), name, cores=2.0)
    return create(results, Resolved(Config(), {"train.batch_size": "default"}), plan, ENVIRONMENT)


def outcome_of(order: TrialSpec, status: Status = "ok", duration_s: float = 1.0) -> TrialOutcome:
    epoch = EpochRecord("worker:0", 1, 550, 55000, 3.5, 0.25, 1.0, 0.5, Staleness([1, 2]))
    return TrialOutcome(
        order, status, "2026-11-22T14:28:41Z", duration_s, training_s=1.0, epochs=[epoch]
    )


@pytest.fixture
def store(tmp_path: Path) -> SweepStore:
    return make(tmp_path)


def test_a_sweep_reads_back_as_it_was_made(store: SweepStore, tmp_path: Path) -> None:
    again = open_sweep(tmp_path, store.name)
    assert again.plan == store.plan
    assert again.resolved == store.resolved
    assert [session.before for session in again.sessions()] == [ENVIRONMENT]
    assert again.outcomes() == []
    assert [path.name for path in tmp_path.iterdir()] == [store.name]


def test_outcomes_come_back_and_the_last_of_a_trial_counts(
    store: SweepStore, tmp_path: Path
) -> None:
    first, second, third = store.plan.orders[:3]
    store.append(outcome_of(first, "failed"))
    store.append(outcome_of(second))
    store.append(outcome_of(third, "interrupted"))
    store.append(outcome_of(first, duration_s=2.0))
    expected = [outcome_of(second), outcome_of(third, "interrupted"), outcome_of(first, "ok", 2.0)]
    assert open_sweep(tmp_path).outcomes() == expected
    assert store.pending() == store.plan.orders[2:]


@pytest.mark.parametrize("torn", [b'{"order":{"id":"n0', b"\x00\x00\x00", b"{}"])
def test_a_torn_last_line_is_noted_and_cut_off_by_the_next_append(
    store: SweepStore, torn: bytes
) -> None:
    first, second = store.plan.orders[:2]
    store.append(outcome_of(first))
    trials = store.path / "trials.jsonl"
    with trials.open("ab") as file:
        file.write(torn)
    assert store.outcomes() == [outcome_of(first)]
    store.outcomes()
    assert [note.partition(": ")[0] for note in store.notes] == [f"{trials}:3"]
    store.append(outcome_of(second))
    assert store.outcomes() == [outcome_of(first), outcome_of(second)]
    assert torn not in trials.read_bytes().splitlines()


def test_every_tear_of_the_last_line_keeps_the_outcomes_before_it(store: SweepStore) -> None:
    first, second = store.plan.orders[:2]
    store.append(outcome_of(first))
    trials = store.path / "trials.jsonl"
    whole = trials.read_bytes()
    store.append(outcome_of(second))
    both = trials.read_bytes()
    for end in range(len(whole), len(both) + 1):
        trials.write_bytes(both[:end])
        # Without its newline alone the line is whole, and counts.
        complete = end >= len(both) - 1
        assert len(store.outcomes()) == (2 if complete else 1)
        store.append(outcome_of(second))
        assert trials.read_bytes().count(b"\n") == (4 if complete else 3)
        assert store.outcomes() == [outcome_of(first), outcome_of(second)]


def test_a_damaged_line_in_the_middle_is_named(store: SweepStore) -> None:
    store.append(outcome_of(store.plan.orders[0]))
    trials = store.path / "trials.jsonl"
    header, line = trials.read_bytes().splitlines()
    trials.write_bytes(b"\n".join([header, line[:50], line, b""]))
    with pytest.raises(ResultsError) as caught:
        store.outcomes()
    assert str(caught.value).startswith(f"{trials}:2: is damaged")


@pytest.mark.parametrize("name", ["config.json", "plan.json", "environment.json"])
def test_documents_of_another_version_missing_or_damaged_are_refused(
    store: SweepStore, name: str
) -> None:
    def read() -> object:
        fresh = open_sweep(store.path.parent, store.name)
        return fresh.resolved, fresh.plan, fresh.sessions()

    path = store.path / name
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"version": 2, "more": 1}))
    with pytest.raises(ResultsError, match="has results format 2, but this dnnbench reads 1"):
        read()
    path.write_text(json.dumps(document | {"dnnbench": "recipe"}))
    with pytest.raises(ResultsError, match="holds 'recipe'"):
        read()
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ResultsError, match="is damaged"):
        read()


def test_trials_of_another_version_are_refused(store: SweepStore) -> None:
    (store.path / "trials.jsonl").write_text('{"dnnbench":"trials","version":7}\n')
    with pytest.raises(ResultsError, match=r"trials\.jsonl:1: has results format 7"):
        store.outcomes()


def test_events_and_logs_of_each_attempt_have_a_directory_of_their_own(
    store: SweepStore, tmp_path: Path
) -> None:
    order = store.plan.orders[0]
    with store.event_writer(order) as events:
        events.write({"event": "go"})
        path = store.path / "trials" / order.id / "events.jsonl"
        assert path.read_bytes().splitlines()[1:] == [b'{"event":"go"}']
    assert store.log_dir(order) == path.parent / "logs"
    assert store.log_dir(order).is_dir()
    store.append(outcome_of(order, "failed"))
    assert store.log_dir(order) == store.path / "trials" / f"{order.id}-attempt2" / "logs"
    # A killed process left an attempt without an outcome; the next process must not mix with it.
    again = open_sweep(tmp_path)
    with again.event_writer(order):
        assert again.log_dir(order).parent.name == f"{order.id}-attempt3"
    stored = json.loads((again.log_dir(order).parent / "order.json").read_text())
    assert stored["dnnbench"] == "order"
    assert stored["content"]["id"] == order.id


def test_sessions_tell_a_resumed_sweep_from_its_first_part(store: SweepStore) -> None:
    store.end_session((1.0, 2.0, 3.0))
    store.begin_session(ENVIRONMENT)
    assert [session.load_after for session in store.sessions()] == [(1.0, 2.0, 3.0), None]


def test_two_processes_cannot_run_one_sweep(store: SweepStore) -> None:
    code = (
        "import sys; from pathlib import Path; from dnnbench.sweep.store import SweepStore\n"
        "with SweepStore(Path(sys.argv[1])).locked():\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(store.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ResultsError, match=f"is being run by process {other.pid}"):
            store.locked().__enter__()
        other.kill()
    with store.locked():
        pass


def test_the_newest_sweep_with_an_outcome_is_opened(tmp_path: Path) -> None:
    names = ["2026-11-22T14-28-41Z", "2026-11-22T14-28-41Z-2", "2026-11-22T14-28-41Z-10"]
    stores = [make(tmp_path, name) for name in names]
    with pytest.raises(ResultsError, match="no trial of any sweep has ended; resume one with"):
        open_sweep(tmp_path)
    assert open_sweep(tmp_path, need_outcomes=False).name == names[2]
    for expected, store in zip(names[:2], stores[:2], strict=True):
        store.append(outcome_of(store.plan.orders[0]))
        assert open_sweep(tmp_path).name == expected


def test_a_sweep_opens_by_name_or_path_and_a_wrong_name_is_helped(
    store: SweepStore, tmp_path: Path
) -> None:
    assert open_sweep(tmp_path, store.name).path == store.path
    assert open_sweep(Path("elsewhere"), str(store.path)).plan == store.plan
    with pytest.raises(ResultsError, match=f"did you mean {store.name}"):
        open_sweep(tmp_path, store.name[:-3])
    with pytest.raises(ResultsError, match="there is no sweep; run one"):
        open_sweep(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
@pytest.mark.parametrize("name", ["lock", "trials.jsonl"])
def test_what_is_no_regular_file_is_never_written_to(
    store: SweepStore, name: str, kind: str
) -> None:
    path = store.path / name
    path.unlink(missing_ok=True)
    order = store.plan.orders[0]
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to(os.devnull)
    else:
        path.mkdir()
    with pytest.raises(ResultsError, match=f"^{path}: expected a regular file$"):
        store.locked().__enter__() if name == "lock" else store.append(outcome_of(order))


def test_names_follow_the_clock_in_utc_and_avoid_each_other(tmp_path: Path) -> None:
    local = datetime(2026, 11, 22, 16, 28, 41, tzinfo=timezone(timedelta(hours=2)))
    for expected in ("2026-11-22T14-28-41Z", "2026-11-22T14-28-41Z-2", "2026-11-22T14-28-41Z-3"):
        name = new_sweep_id(tmp_path, local)
        assert name == expected
        make(tmp_path, name)


def test_a_sweep_is_never_made_over_another_or_by_half(
    store: SweepStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NameTakenError, match="already exists"):
        make(tmp_path, store.name)
    calls = itertools.count()

    def full_disk(*_: object) -> None:
        if next(calls) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write_document", full_disk)
    with pytest.raises(ResultsError, match="No space left"):
        make(tmp_path, "another")
    assert [path.name for path in tmp_path.iterdir()] == [store.name]


def test_hosts_are_noted_in_the_newest_session_and_a_sweep_without_them_reads_on(
    store: SweepStore,
) -> None:
    store.note_hosts({"node1": ENVIRONMENT})
    store.note_hosts({"node2": ENVIRONMENT})
    store.end_session((1.0, 2.0, 3.0))
    (session,) = store.sessions()
    assert list(session.hosts) == ["node1", "node2"]
    path = store.path / "environment.json"
    document = json.loads(path.read_text())
    for old in document["content"]:
        del old["hosts"], old["before"]["boot_id"]
    path.write_text(json.dumps(document))
    (session,) = store.sessions()
    assert (session.hosts, session.before.boot_id) == ({}, None)


def test_results_that_are_removed_while_a_sweep_runs_are_one_line(store: SweepStore) -> None:
    order = store.plan.orders[0]
    placement = store.plan.placement(order)
    recorder = Recorder(store, order, placement, Mock())
    store.sessions()
    shutil.rmtree(store.path)
    with pytest.raises(ResultsError, match="cannot be written"):
        store.append(outcome_of(order))
    with pytest.raises(ResultsError, match="cannot be written"):
        store.end_session((1.0, 2.0, 3.0))
    with pytest.raises(ResultsError, match="cannot be written"):
        store.log_dir(store.plan.orders[1])
    with pytest.raises(ResultsError, match="cannot be written"):
        recorder.record(Log(task="ps:0", line="hello"))
    recorder.__exit__()


def test_a_machine_that_is_forgotten_in_mid_run_is_recorded_again(store: SweepStore) -> None:
    before = store.sessions()
    (store.path / "environment.json").unlink()
    store.end_session((1.0, 2.0, 3.0))
    (session,) = open_sweep(store.path.parent, store.name).sessions()
    assert (session.before, session.load_after) == (before[0].before, (1.0, 2.0, 3.0))


@pytest.mark.parametrize("content", [b"", b"something else\n", b'{"dnnbench":"plan"}\n'])
def test_outcomes_are_not_added_to_a_file_that_somebody_replaced(
    store: SweepStore, content: bytes
) -> None:
    trials = store.path / "trials.jsonl"
    trials.write_bytes(content)
    with pytest.raises(ResultsError, match=r"trials\.jsonl:1: "):
        store.append(outcome_of(store.plan.orders[0]))
    assert trials.read_bytes() == content
