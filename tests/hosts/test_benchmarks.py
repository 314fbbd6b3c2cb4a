from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.processes import Witness, of_session

from benchmarks import provision
from benchmarks.document import fill
from benchmarks.harness import Options, Report, Result, Row, as_json, in_turn
from benchmarks.processes import BenchmarkError, descendants, run_peer, started, wait_for
from benchmarks.stored import store_sweep
from dnnbench.trial.machine import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartHosts


def report(*results: Result) -> Report:
    return Report(snapshot(), (0.5, 0.5, 0.5), quick=False, results=list(results))


def test_every_other_round_runs_the_sides_backwards() -> None:
    order: list[str] = []

    def side(name: str, number: int) -> dict[str, float]:
        order.append(f"{name}{number}")
        return {"s": float(number)}

    rounds = in_turn("g", {name: partial(side, name) for name in "abc"}, 3)
    assert order == ["a0", "b0", "c0", "c1", "b1", "a1", "a2", "b2", "c2"]
    assert [a_round["b"] for a_round in rounds] == [{"s": 0.0}, {"s": 1.0}, {"s": 2.0}]


def test_a_row_is_judged_by_its_medians_and_shows_the_ratios_within_rounds() -> None:
    verdict = Row("w", "a", "s", [1.0, 2.0, 9.0], [10.0, 4.0, 5.0], target=0.4).verdict()
    assert (verdict.ours, verdict.theirs) == (2.0, 5.0)
    assert verdict.ratio == pytest.approx(0.4)
    assert (verdict.low, verdict.high) == pytest.approx((0.1, 1.8))
    assert verdict.reached
    assert not Row("w", "a", "s", [1.0], [2.0], target=0.49).verdict().reached


@pytest.mark.parametrize(
    ("ours", "reached"),
    [([1.01, 1.02, 1.015], True), ([0.9, 1.1, 1.0], False), ([1.01], False), ([1.03] * 3, False)],
    ids=["close", "scattered", "one round", "too slow"],
)
def test_a_row_with_a_limit_needs_its_whole_interval_below_it(
    ours: list[float], reached: bool
) -> None:
    row = Row("w", "a", "s", ours, [1.0] * len(ours), 1.02, limit=1.03, spread="interval")
    assert row.verdict().reached is reached


def test_figures_go_into_their_sections_alone() -> None:
    document = (
        "a\n<!-- figures: Step -->\nold\n<!-- end -->\nb\n<!-- figures: X -->\nc\n<!-- end -->\n"
    )
    found = report(Result("Step", [Row("epoch", "tutorial", "s", [1.0], [4.0], 0.3)]))
    once = fill(document, found)
    assert "old" not in once
    assert "0.25" in once
    assert once.startswith("a\n<!-- figures: Step -->\n")
    assert once.endswith("<!-- end -->\nb\n<!-- figures: X -->\nc\n<!-- end -->\n")
    assert fill(once, found) == once


def test_a_report_is_read_back_as_it_was_written_and_carries_its_verdicts() -> None:
    found = report(Result("Step", [Row("epoch", "tutorial", "s", [1.0], [4.0], 0.2)]))
    text = as_json(found)
    assert msgspec.json.decode(text, type=Report) == found
    assert msgspec.json.decode(text)["results"][0]["rows"][0]["verdict"]["reached"] is False


def test_nothing_that_a_command_started_outlives_it(tmp_path: Path) -> None:
    sleep = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys\n"
        f"a = subprocess.Popen([sys.executable, '-c', {sleep!r}])\n"
        f"b = subprocess.Popen([sys.executable, '-c', {sleep!r}], start_new_session=True)\n"
        "print('ready', flush=True)\n"
        "a.wait()\n"
    )
    log = tmp_path / "log"
    with started([sys.executable, "-c", code], log) as process:
        wait_for(lambda: "ready" in log.read_text(), "the children", 20.0, process, log)
        born = descendants(process.pid)
        assert len(born) == 2
        assert process.pid in of_session(process.pid)
        witness = Witness([process.pid, *born])
    with witness:
        assert witness.alive_after(5.0) == []


def test_a_peer_that_fails_or_hangs_is_an_error_that_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(BenchmarkError, match=r"ended with 1: .*ZeroDivisionError"):
        run_peer([sys.executable, "-c", "1 / 0"], log, 20.0)
    hangs = "import time; time.sleep(600)"
    with pytest.raises(BenchmarkError, match="waited 1 s for -c"):
        run_peer([sys.executable, "-c", hangs], log, 1.0)
    speaks = """print('noise'); print('{"epoch_s": 1.5}')"""
    assert run_peer([sys.executable, "-c", speaks], log, 20.0) == {"epoch_s": 1.5}


def test_a_made_up_sweep_of_the_paper_profile_is_reported(tmp_path: Path) -> None:
    path = store_sweep(tmp_path, "paper")
    command = [sys.executable, "-m", "dnnbench", "report", str(path), "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=True)
    assert len((path / "trials.jsonl").read_text().splitlines()) == 121
    assert "dc-sgd" in done.stdout


def test_provisioning_is_timed_where_there_is_no_ansible_to_compare_with(
    monkeypatch: pytest.MonkeyPatch, start_hosts: StartHosts
) -> None:
    start_hosts(0)  # skips where that cannot be
    monkeypatch.setattr(provision, "find_ansible", lambda: None)
    result = provision.measure(Options(rounds=1, quick=True, data_dir=None, torch_python=""))
    assert result.skipped == [provision.NO_ANSIBLE]
    seconds = {row["side"]: row["wall_s"] for row in result.tables["Medians"]}
    assert seconds[provision.PACKAGE] > 0 < seconds[provision.NOTHING]
