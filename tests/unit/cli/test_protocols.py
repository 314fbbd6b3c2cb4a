"""Every protocol of the table, and some that are not in it yet, on the way through the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import PROJECT, TESTS, fake_sweep

from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import grid
from dnnbench.trial.tasks import ClusterSpec, task_names


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_of_the_table_is_run_reported_and_priced(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(*fake_sweep.SOURCE)
    protocol = PROTOCOLS[name]
    base = [protocol.baseline] if protocol.baseline else []
    assert set(fake_sweep.walk(",".join([*base, name]))) == {0}
    out, err = capsys.readouterr()
    assert protocol.title in out
    assert ("every node is a worker" in " ".join(out.split())) == protocol.connects_workers
    assert "bug:" not in err
    report = json.loads(Path("report.json").read_text())
    cells = len(grid((3, 4), [*base, name]))
    assert [cell["n"] for cell in report["cells"]] == [2] * cells
    assert [(over["protocol"], over["baseline"]) for over in report["overhead"]] == [
        (name, other) for other in base for _ in (3, 4)
    ]


@pytest.mark.parametrize(
    ("names", "overheads"),
    [
        ("downpour,elastic", {("elastic", "downpour")}),
        ("ring,downpour,dc-sgd", {("dc-sgd", "downpour")}),
    ],
)
def test_the_control_side_needs_no_more_of_a_new_protocol_than_its_entry(
    names: str, overheads: set[tuple[str, str]]
) -> None:
    command = [sys.executable, "-m", "support.fake_sweep", names]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(TESTS)])}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    known = PROTOCOLS | {protocol.name: protocol for protocol in fake_sweep.MORE}
    report = json.loads(Path("report.json").read_text())
    assert {(over["protocol"], over["baseline"]) for over in report["overhead"]} == overheads
    for cell in report["cells"]:
        protocol = known[cell["protocol"]]
        assert protocol.title in done.stdout
        assert cell["n"] == 2
        assert cell["workers"] == cell["nodes"] - protocol.needs_parameter_server
        assert cell["published_epoch_s"] is None  # the fake agents are all on this machine


def test_without_parameter_server_every_node_is_a_worker() -> None:
    assert task_names(3, 0) == ["worker:0", "worker:1", "worker:2"]
    addresses = {"worker:1": "b:2", "worker:0": "a:1"}
    assert ClusterSpec.from_tasks(addresses).as_dict() == {"worker": ["a:1", "b:2"]}
