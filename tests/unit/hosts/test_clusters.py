"""Which cluster a sweep uses, and what it takes for abandoned."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.factories import make_part

from dnnbench.hosts.agents.clusters import Part, software, standing_for, start_keeper
from dnnbench.hosts.agents.identity import owner, this_process
from dnnbench.hosts.provision.wanted import wanted_for
from dnnbench.settings.schema import ClusterConfig, Config
from dnnbench.sweep.placement import Host
from dnnbench.trial.role_environment import ENVIRONMENT

HOSTS = [Host(f"node{number}", f"127.0.0.{number}", slots=1) for number in (1, 2, 3)]


def part(cluster: str, host: str, **changes: Any) -> Part:
    return make_part(cluster, host, **{"owner": owner(), **changes})


def parts(clusters: dict[str, list[str]], **changes: Any) -> dict[str, list[Part]]:
    """Return host -> what stands there, of cluster -> its hosts."""
    return {
        host.name: [
            part(name, host.name, **changes) for name, on in clusters.items() if host.name in on
        ]
        for host in HOSTS
    }


def ended_process() -> str:
    """Return the name of a process that is no more."""
    code = "from dnnbench.hosts.agents.clusters import this_process; print(this_process())"
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def chosen(standing: dict[str, list[Part]], needed: int, **options: Any) -> list[str] | None:
    found = standing_for(standing, HOSTS, needed, "new", **options)
    return None if found is None else [f"{part.cluster} {name}" for name, part in found.items()]


def test_the_first_cluster_with_enough_ports_is_chosen() -> None:
    both = parts({"small": ["node1", "node2"], "large": ["node1", "node2", "node3"]})
    assert chosen(both, 2) == ["small node1", "small node2"]
    assert chosen(both, 3) == ["large node1", "large node2", "large node3"]


def test_one_that_is_too_small_is_chosen_where_a_new_one_could_not_be_larger() -> None:
    two = parts({"c": ["node1", "node2"]})
    assert chosen(two, 3) == ["c node1", "c node2"]
    assert chosen(two, 3, share=True) is None
    assert chosen(parts({"c": ["node1"]}), 3) is None
    assert chosen(parts({}), 1) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "alice@laptop"},
        {"package": "old"},
        {"launcher": "a sweep's own"},
        {"lease_left_s": None},
        {"controller": f"{this_process()} me"},
        {"controller": "another-boot/pid:[1]/1/1 me"},
    ],
)
def test_a_cluster_that_is_not_ours_to_use_is_left_alone(changes: dict[str, Any]) -> None:
    assert chosen(parts({"c": ["node1", "node2"]}, **changes), 2) is None


def test_who_wants_a_firewall_gets_no_cluster_without_one() -> None:
    assert chosen(parts({"open": ["node1"]}), 1, firewall=True) is None
    assert chosen(parts({"shut": ["node1"]}, firewall=True), 1, firewall=True) == ["shut node1"]
    assert chosen(parts({"shut": ["node1"]}, firewall=True), 1) == ["shut node1"]


def test_a_dead_controller_does_not_keep_its_cluster() -> None:
    dead = f"{ended_process()} me"
    assert chosen(parts({"c": ["node1", "node2"]}, controller=dead), 2)


def test_only_a_sweep_whose_process_has_ended_here_has_abandoned_its_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = part("c", "node1", launcher=ended_process())
    assert dead.is_abandoned
    assert not part("c", "node1").is_abandoned
    assert not part("c", "node1", launcher=this_process()).is_abandoned
    assert not part("c", "node1", launcher=dead.launcher, owner="alice@laptop").is_abandoned
    monkeypatch.setattr("dnnbench.hosts.agents.clusters.here", lambda: "another container")
    assert not dead.is_abandoned


def test_a_process_is_named_by_more_than_its_number() -> None:
    boot, space, pid, started = this_process().split("/")
    assert int(pid) == os.getpid()
    assert boot
    assert space.startswith("pid:")
    assert int(started) > 0


class Tools:
    """Notes the request to start a keeper."""

    host = "node1"

    def call(self, _command: str, _timeout_s: float, **request: Any) -> dict[str, Any]:
        self.request = request
        return {"ports": [23000], "socket": "/agent.sock"}


def test_an_agent_on_a_host_gets_the_variables_that_the_user_passes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    entries = ("MY_TOKEN", "MY_RATE=0.5")
    config = Config(cluster=ClusterConfig(environment=entries))
    wanted = wanted_for(config, None)
    tools: Any = Tools()
    facts: Any = SimpleNamespace(directory="/d", machine="x86_64", ends_with_command=False)
    settings: dict[str, Any] = {"lease_s": 1.0, "ports": 1, "admitted": None}
    start_keeper(tools, facts, config, wanted, cluster="c", purpose="p", **settings)
    given = tools.request["environment"]
    assert (given["MY_TOKEN"], given["MY_RATE"]) == ("s3cret", "0.5")
    assert given.items() >= ENVIRONMENT.items()
    own = software(wanted, config)
    assert tools.request["package"] == own
    assert "s3cret" not in own
    monkeypatch.setenv("MY_TOKEN", "another")
    assert len({own, software(wanted, config), software(wanted, Config())}) == 3
