"""A cluster on hosts that are reached by a command: from provision to stop, as a user types it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.stand_in import containers

from benchmarks.testbed.farm import TINY, Command, equip, outcomes

if TYPE_CHECKING:
    from pathlib import Path

    from support.stand_in import Containers

    from benchmarks.testbed.farm import Called

DATA = ["--dataset", "synthetic-mnist"]


@pytest.fixture
def place(tmp_path: Path) -> Containers:
    """Three containers that have TensorFlow, in the settings of a directory."""
    found = containers(3, tmp_path / "containers")
    lines = []
    for name, home in found.homes.items():
        equip(home)
        lines += ["[[hosts]]", f'name = "{name}"', f'data_address = "{found.address(name)}"']
    (tmp_path / "dnnbench.toml").write_text("\n".join(lines) + "\n")
    return found


@pytest.mark.long
def test_a_cluster_in_containers_lives_as_one_over_ssh_does(
    place: Containers, tmp_path: Path
) -> None:
    def call(*arguments: str, code: int = 0, connect: str = place.template) -> Called:
        with Command(tmp_path, *arguments, "--connect", connect) as command:
            called = command.result()
        assert called.code == code, called.err
        assert "Traceback" not in called.err, called.err
        return called

    steps = call("provision", *DATA, "--json").document["hosts"]
    assert {name: {step["state"] for step in done} for name, done in steps.items()} == {
        name: {"ok", "changed"} for name in place.homes
    }
    assert "node2" in call("provision", *DATA, "--check").out
    launched = call("launch", "--nodes", "3", *DATA, "--json").document
    assert launched["placement"] == {"ps:0": "node2", "worker:0": "node3", "worker:1": "node4"}
    assert "using cluster" in call("run", "--nodes", "3", *TINY).err
    (outcome,) = outcomes(tmp_path)
    assert (outcome.status, outcome.placement) == ("ok", launched["placement"])
    clusters = call("status", "--json").document["clusters"]
    assert [part["doing"] for parts in clusters.values() for part in parts] == ["idle"] * 3
    call("stop")
    assert not any(call("status", "--json").document["clusters"].values())

    place.homes["node4"].rename(tmp_path / "gone")
    one_line = call("status", code=5, connect=f"{place.program} {{name}} {{command}}").last_line
    assert 'node4: `in-container` ended with 125: Error: no container with name "node4"' in one_line
