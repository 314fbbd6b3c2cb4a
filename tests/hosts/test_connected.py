"""Hosts that can be reached and those that cannot, as commands see them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.connected import ConnectedHosts
from dnnbench.hosts.ssh import connection as connection_module
from dnnbench.settings.schema import Config

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartHosts

    from dnnbench.hosts.provision.tools import HostTools


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(connection_module, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def config(start_hosts: StartHosts) -> Config:
    """Four hosts, the third of which has no name that leads to it."""
    farm = start_hosts(4, first=190)
    hosts = farm.configs
    hosts[0] = msgspec.structs.replace(hosts[0], data_address="fd00::1")
    hosts[2] = msgspec.structs.replace(hosts[2], address="nowhere.invalid")
    return Config(ssh=farm.settings, hosts=tuple(hosts))


def test_who_fails_is_done_without_from_then_on_and_told_in_the_inventory_s_order(
    config: Config,
) -> None:
    def ask(tools: HostTools) -> str:
        if tools.host == "node2":
            raise HostError("is taken", where=tools.host)
        return tools.connection.run("echo $0").stdout.decode()

    with ConnectedHosts(config) as reach:
        reach.open(["node4", "node3"])
        assert [host.name for host in reach.hosts] == ["node4"]
        reach.open(["node1", "node2"])
        assert reach.each(ask).keys() == {"node1", "node4"}
        assert list(reach.missing) == ["node2", "node3"]
        assert reach.tools.keys() == {"node1", "node4"}
        assert {host.name: host.address for host in reach.hosts} == {
            "node1": "[fd00::1]",  # TensorFlow's traffic goes elsewhere than SSH
            "node4": "127.0.0.193",
        }
        assert reach.each(lambda tools: tools.host, ["node4"]) == {"node4": "node4"}
        connections = [tools.connection for tools in reach.tools.values()]
    assert not any(connection.is_open for connection in connections)


def test_a_lost_connection_is_opened_again_for_the_same_host(config: Config) -> None:
    with ConnectedHosts(config) as reach:
        reach.open(["node1"])
        lost = reach.tools["node1"].connection
        lost.close()
        again = reach.reopen("node1")
        assert again is reach.tools["node1"]
        assert again.connection.run("exit 3").code == 3
        assert not lost.is_open


def test_twelve_hosts_are_opened_and_asked_together(start_hosts: StartHosts) -> None:
    farm = start_hosts(12)
    with ConnectedHosts(Config(ssh=farm.settings, hosts=tuple(farm.configs))) as connected:
        connected.open()
        assert connected.missing == {}
        answers = connected.each(lambda tools: tools.connection.run('printf %s "$HOME"').stdout)
        assert answers == {sshd.name: str(sshd.home).encode() for sshd in farm.sshds}
        connections = [tools.connection for tools in connected.tools.values()]
    assert [connection.is_open for connection in connections] == [False] * 12


def test_hosts_that_cannot_be_reached_leave_the_others_unharmed(start_hosts: StartHosts) -> None:
    farm = start_hosts(3)
    farm.sshds[1].stop()
    hosts = farm.configs
    hosts[2] = msgspec.structs.replace(hosts[2], key="/nowhere", user="nobody-at-all")
    settings = msgspec.structs.replace(farm.settings, tries=2)
    with ConnectedHosts(Config(ssh=settings, hosts=tuple(hosts))) as connected:
        connected.open()
        assert list(connected.tools) == ["node1"]
        assert list(connected.missing) == ["node2", "node3"]
        refused = str(connected.missing["node2"])
        assert re.match(r"node2: .* refuses connections \(2 tries\); ", refused)
        assert connected.tools["node1"].connection.run("true").code == 0
