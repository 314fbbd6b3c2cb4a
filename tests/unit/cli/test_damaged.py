"""Damaged results: refused in one line, and no command reads what another one refuses."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import SUPPORT

from dnnbench.cli import main
from dnnbench.errors import EXIT_OK, ResultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SWEEP = "2026-11-25T17-53-33Z"
UNFINISHED = "2026-11-25T17-56-18Z"
STORED = SUPPORT / "stored" / "results"
READERS: dict[str, tuple[str, ...]] = {
    "report": ("report",),
    "cost": ("cost",),
    "predict": ("predict", "--nodes", "2,4"),
    "compare": ("compare", UNFINISHED),
    "resume": ("run", "--dry-run", "--resume"),
}
DOCUMENTS = ("config.json", "plan.json", "environment.json")
FILES = (*DOCUMENTS, "trials.jsonl")
ODD: tuple[Any, ...] = (
    *(-5, 0, 0.5, -1e-9, 1e308, -1e308, 2**63, 10**30, 1000, 1001),
    *(None, True, "", "x", "worker:7", "localhost:1", [], {}, [[[]]], [-1]),
)
"""Values to put in the place of one that is right."""


@pytest.fixture(autouse=True)
def in_a_directory_with_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(STORED, "results")


def read(file: str, line: int = 1) -> Any:
    path = Path("results", SWEEP, file)
    text = path.read_text()
    return json.loads(text.splitlines()[line] if file == "trials.jsonl" else text)


def write(file: str, value: Any, line: int = 1) -> None:
    path = Path("results", SWEEP, file)
    if file == "trials.jsonl":
        lines = path.read_text().splitlines()
        lines[line : line + 1] = [json.dumps(value)]
        path.write_text("\n".join([*lines, ""]))
    else:
        path.write_text(json.dumps(value))


def call(*arguments: str) -> tuple[int, str]:
    """Return the exit code and what was written on standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments])
    return code, err.getvalue()


def assert_all_refuse(*named: str) -> None:
    for name, arguments in READERS.items():
        code, err = call(*arguments, SWEEP)
        assert code == ResultsError.exit_code, (name, code, err)
        (line,) = err.splitlines()
        assert all(word in line for word in named), (name, line)


def change(*path: str | int, to: Any) -> Callable[[Any], None]:
    def apply(value: Any) -> None:
        *parents, last = path
        for key in parents:
            value = value[key]
        value[last] = to

    return apply


def values_at(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value below."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in pairs:
        yield (*path, key)
        if isinstance(below, (dict, list)):
            yield from values_at(below, *path, key)


@pytest.mark.parametrize(
    "apply",
    [
        change("epochs", 0, "duration_s", to=-5),
        change("epochs", 0, "duration_s", to=0),
        change("epochs", 0, "duration_s", to=1e308),
        change("epochs", 0, "examples", to=-1),
        change("epochs", 0, "examples", to=0),
        change("epochs", 0, "steps", to=0),
        change("epochs", 0, "cpu_s", to=-1),
        change("epochs", 0, "loss", to=1e308),
        change("epochs", 0, "staleness", "counts", 0, to=-1),
        change("epochs", 0, "epoch", to=3),
        change("epochs", 0, "task", to="worker:9"),
        lambda outcome: outcome["epochs"].append(outcome["epochs"][0]),
        change("epochs", to=[]),
        change("duration_s", to=-1),
        change("duration_s", to=1e308),
        change("training_s", to=0),
        change("start_up_s", to=-1),
        change("parameter_server_cpu_s", to=-1),
        change("updates_pushed", to=-1),
        change("updates_applied", 0, to=-1),
        change("evaluations", 0, "test_accuracy", to=1.5),
        change("warmups", 0, "duration_s", to=-1),
        change("placement", "worker:0", to="elsewhere"),
        change("placement", "worker:9", to="localhost"),
        change("status", to="diverged"),
        change("order", "id", to="n04-downpour-r09"),
        change("order", "nodes", to=1),
        change("order", "nodes", to=10**9),
        change("order", "parameter_servers", to=4),
        change("order", "batch_size", to=50),
        change("order", "batch_size", to=0),
        change("order", "sweep", to="another"),
        change("order", "repeat", to=9),
        change("order", "protocol", "learning_rate", to=1e308),
    ],
)
def test_a_value_out_of_bounds_or_of_another_trial_is_refused_by_every_reader(
    apply: Callable[[Any], None],
) -> None:
    outcome = read("trials.jsonl")
    apply(outcome)
    write("trials.jsonl", outcome)
    assert_all_refuse("trials.jsonl:2", "is damaged")


@pytest.mark.parametrize(
    ("file", "apply"),
    [
        ("plan.json", change("content", "orders", 0, "nodes", to=1)),
        ("plan.json", change("content", "orders", 0, "nodes", to=999)),
        ("plan.json", change("content", "orders", 0, "repeat", to=99)),
        ("plan.json", change("content", "orders", 0, "sweep", to="another")),
        ("plan.json", change("content", "orders", 0, "steps_per_run", to=0)),
        ("plan.json", change("content", "orders", to=[])),
        ("config.json", change("content", "config", "train", "epochs", to=-1)),
        ("config.json", change("content", "config", "sweep", "nodes", to=[])),
        ("environment.json", change("content", 0, "before", "cores", to=0)),
        ("environment.json", change("content", 0, "before", "cores_usable", to=-1)),
        ("environment.json", change("content", 0, "before", "load_average", 0, to=1e308)),
    ],
)
def test_a_document_with_what_cannot_be_is_refused(file: str, apply: Callable[[Any], None]) -> None:
    document = read(file)
    apply(document)
    write(file, document)
    code, err = call("report", SWEEP)
    assert code == ResultsError.exit_code
    assert len(err.splitlines()) == 1
    assert file in err
    assert "is damaged" in err


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=st.sampled_from(FILES), odd=st.sampled_from(ODD), data=st.data())
def test_whatever_value_stands_anywhere_in_a_result_it_is_no_bug(
    file: str, odd: Any, data: st.DataObject
) -> None:
    original = Path("results", SWEEP, file).read_text()
    document = read(file)
    path = data.draw(st.sampled_from(list(values_at(document))))
    change(*path, to=odd)(document)
    write(file, document)
    try:
        name = data.draw(st.sampled_from(list(READERS)))
        code, err = call(*READERS[name], SWEEP)
        assert code in {EXIT_OK, 2, ResultsError.exit_code}, (name, path, odd, err)
        assert code == EXIT_OK or err.splitlines()[-1].startswith("dnnbench: error: ")
    finally:
        Path("results", SWEEP, file).write_text(original)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("nested", ["[" * 200_000, '{"a":' * 100_000, '{"dnnbench":"\\ud800"}'])
def test_json_nested_deeply_or_with_half_a_pair_is_refused(file: str, nested: str) -> None:
    Path("results", SWEEP, file).write_text(nested + "\n")
    code, err = call("report", SWEEP)
    assert (code, len(err.splitlines())) == (ResultsError.exit_code, 1)
    assert file in err


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a directory"])
def test_what_is_no_regular_file_is_refused_at_once(file: str, kind: str) -> None:
    path = Path("results", SWEEP, file)
    path.unlink()
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    for arguments in READERS.values():
        code, err = call(*arguments, SWEEP)
        assert code in {EXIT_OK, ResultsError.exit_code}
    code, err = call("report", SWEEP)
    assert code == ResultsError.exit_code
    assert file in err
    code, err = call("run", "--dry-run", "--dataset", "synthetic-mnist")
    assert code == EXIT_OK, err


def test_where_a_crash_left_no_whole_outcome_the_incomplete_one_is_named() -> None:
    path = Path("results", SWEEP, "trials.jsonl")
    header, outcome, *_ = path.read_text().splitlines()
    path.write_text(f"{header}\n{outcome[:100]}")
    for name in ("report", "cost", "predict", "compare"):
        code, err = call(*READERS[name], SWEEP)
        assert code == ResultsError.exit_code
        assert "no trial has ended" in err
        assert f"{path}:2: is incomplete after a crash" in err


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_sweep_whose_machine_is_lost_is_reported_and_resumed(*, is_missing: bool) -> None:
    for name in (SWEEP, UNFINISHED):
        path = Path("results", name, "environment.json")
        path.write_text(json.dumps({"dnnbench": "environment", "version": 1, "content": []}))
        if is_missing:
            path.unlink()
        code, err = call("report", name)
        assert code == EXIT_OK, err
        assert "environment.json: does not tell what machines the sweep ran on" in err
        assert call("cost", name)[0] == EXIT_OK
    assert call("run", "--resume", UNFINISHED, "--dry-run")[0] == EXIT_OK
    assert call("run", "--dry-run", "--dataset", "synthetic-mnist")[0] == EXIT_OK


def test_a_cause_of_any_length_ends_at_once() -> None:
    outcome = read("trials.jsonl")
    outcome |= {"status": "failed", "failure": {"cause": "x" * 30_000_000}}
    write("trials.jsonl", outcome)
    assert_all_refuse("trials.jsonl:2", "is damaged", "$.failure.cause")


def test_a_sweep_whose_settings_have_changed_is_not_resumed_and_the_keys_are_named() -> None:
    path = Path("results", UNFINISHED, "config.json")
    document = json.loads(path.read_text())
    document["content"]["config"]["train"] |= {"batch_size": 77, "learning_rate": 0.7}
    path.write_text(json.dumps(document))
    code, err = call("run", "--resume", UNFINISHED, "--dry-run")
    assert code == ResultsError.exit_code
    (line,) = err.splitlines()
    assert f"{path}: has changed since the sweep was planned: " in line
    assert "batch_size is 77 instead of " in line
    assert "protocol.learning_rate is 0.7 instead of " in line


def test_settings_of_today_that_a_resumed_sweep_does_not_take_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("dnnbench.toml").write_text("[train]\nbatch_size = 77\n")
    monkeypatch.setenv("DNNBENCH_TRAIN_EPOCHS", "9")
    code, err = call("run", "--resume", UNFINISHED, "--dry-run")
    assert code == EXIT_OK
    kept = "train.batch_size of dnnbench.toml:2, train.epochs of DNNBENCH_TRAIN_EPOCHS"
    assert f"note: the sweep keeps its own settings and does not take {kept}" in err


def test_more_nodes_than_fit_into_memory_are_refused_before_anything_is_planned() -> None:
    code, err = call("run", "--nodes", "4,1000", "--dry-run", "--dataset", "synthetic-mnist")
    if code != EXIT_OK:  # a machine with 121 GB has room for them
        assert code == 2
        assert "nodes on this machine, got 1,000: each takes about 120 MB" in err
