from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import provision
from benchmarks.harness import Options
from benchmarks.processes import BenchmarkError, run_peer, started, wait_for
from benchmarks.stored import store_sweep
from benchmarks.testbed.processes import Witness, descendants, of_session

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartHosts


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
