from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from benchmarks.testbed.sshd import listener, make_key
from dnnbench.cli import main
from dnnbench.errors import EXIT_OK, HostError
from dnnbench.hosts.connected import ConnectedHosts
from dnnbench.hosts.ssh import connection as connection_module
from dnnbench.hosts.ssh.known_hosts import HostKey
from dnnbench.settings.schema import Config

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartHosts

    from benchmarks.testbed.sshd import Hosts


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Site:
    """A directory with a dnnbench.toml about hosts, and known_hosts of its own."""

    def __init__(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.known_hosts = path / ".ssh" / "known_hosts"
        self._path = path
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def write(self, hosts: Hosts, ssh_config: str = "", more: str = "") -> None:
        (self._path / "ssh_config").write_text(ssh_config)
        entries = "".join(
            f'[[hosts]]\nname = "{host.name}"\naddress = "{host.address}"\nport = {host.port}\n'
            f'user = "{host.user}"\nkey = "{host.key}"\n'
            for host in hosts.configs
        )
        settings = (
            f'[ssh]\nconfig = "{self._path}/ssh_config"\nknown_hosts = "{self.known_hosts}"\n'
            "tries = 1\nlogin_timeout_s = 5.0\n"
        )
        (self._path / "dnnbench.toml").write_text(settings + entries + more)

    def trust(self, *options: str, answer: str = "") -> Result:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        code = main(["hosts", "trust", *options])
        return Result(code, *self._capfd.readouterr())


@pytest.fixture
def site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Site:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(connection_module, "_FIRST_PAUSE_S", 0.01)
    return Site(tmp_path, monkeypatch, capfd)


def fingerprint(hosts: Hosts, index: int) -> str:
    public = hosts.sshds[index].host_key.with_suffix(".pub")
    return HostKey(*public.read_text().split()[:2]).fingerprint


def test_it_shows_the_fingerprints_asks_once_and_then_the_hosts_are_known(
    site: Site, start_hosts: StartHosts
) -> None:
    hosts = start_hosts(3)
    site.write(hosts)
    result = site.trust(answer="y\n")
    assert result.code == EXIT_OK
    for index, sshd in enumerate(hosts.sshds):
        assert f"{sshd.name} [{sshd.address}]:{sshd.port} ED25519 {fingerprint(hosts, index)}" in (
            " ".join(result.out.split())
        )
    assert result.err.count("[y/N]") == 1
    assert site.known_hosts.read_text() == hosts.known_hosts.read_text()
    settings = hosts.settings.__class__(config="/nowhere", known_hosts=str(site.known_hosts))
    with ConnectedHosts(Config(ssh=settings, hosts=tuple(hosts.configs))) as connected:
        connected.open()
        assert (len(connected.tools), connected.missing) == (3, {})
    again = site.trust()
    assert (again.code, again.out) == (EXIT_OK, "")
    assert "already trusted: 3 keys" in again.err


def test_no_leaves_everything_as_it_is(site: Site, start_hosts: StartHosts) -> None:
    site.write(start_hosts(1))
    result = site.trust(answer="n\n")
    assert result.code == HostError.exit_code
    assert not site.known_hosts.exists()


def test_fingerprints_are_whole_on_a_narrow_screen(
    site: Site, start_hosts: StartHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "64")
    hosts = start_hosts(1)
    site.write(hosts)
    assert f"    ED25519 {fingerprint(hosts, 0)}\n" in site.trust(answer="n\n").out


def test_without_an_answer_nothing_is_trusted(site: Site, start_hosts: StartHosts) -> None:
    site.write(start_hosts(1))
    result = site.trust(answer="")
    assert result.code == 2
    assert "standard input: no answer; compare the fingerprints, then use --yes" in result.err
    assert not site.known_hosts.exists()


def test_hosts_that_are_down_or_changed_are_named_and_the_others_trusted(
    site: Site, start_hosts: StartHosts, tmp_path: Path
) -> None:
    hosts = start_hosts(3)
    site.write(hosts)
    _, down, changed = hosts.sshds
    down.stop()
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    old = f"[{changed.address}]:{changed.port} {other}"
    site.known_hosts.parent.mkdir()
    site.known_hosts.write_text(old)
    result = site.trust("--yes")
    assert result.code == HostError.exit_code
    assert "error: node2: 127.0.0.3 port" in result.err
    assert "error: node3: the host key has changed" in result.err
    assert "[y/N]" not in result.err
    assert site.known_hosts.read_text() == old + hosts.sshds[0].known_hosts_line


def test_what_lies_behind_an_unknown_jump_host_is_asked_for_next(
    site: Site, start_hosts: StartHosts
) -> None:
    hosts = start_hosts(2)
    inner = hosts._replace(sshds=hosts.sshds[1:])
    gate = hosts.sshds[0]
    ssh_config = (
        f"Host gate\n HostName {gate.address}\n Port {gate.port}\n User {hosts.user}\n"
        f" IdentityFile {hosts.key}\nHost 127.*\n ProxyJump gate\n"
    )
    site.write(inner, ssh_config)
    result = site.trust(answer="y\ny\n")
    assert (result.code, result.err.count("[y/N]")) == (EXIT_OK, 2)
    assert result.out.index(fingerprint(hosts, 0)) < result.out.index(fingerprint(hosts, 1))
    assert site.known_hosts.read_text() == hosts.known_hosts.read_text()


def test_a_key_goes_to_the_file_that_the_ssh_configuration_names(
    site: Site, start_hosts: StartHosts, tmp_path: Path
) -> None:
    hosts = start_hosts(1)
    site.write(hosts, 'Host *\n UserKnownHostsFile "~/of the lab"\n')
    path = tmp_path / "dnnbench.toml"
    text = path.read_text().replace(f'known_hosts = "{site.known_hosts}"\n', "")
    path.write_text(text)
    result = site.trust("--yes")
    assert f"added 1 key to {tmp_path}/of the lab" in result.err
    assert (tmp_path / "of the lab").read_text() == hosts.known_hosts.read_text()
    assert not site.known_hosts.exists()
    assert "already trusted: 1 key" in site.trust().err


def test_no_hosts_is_an_error_that_says_where_to_list_them(site: Site) -> None:
    result = site.trust()
    assert (result.code, result.out) == (2, "")
    assert "there are no hosts; list them in dnnbench.toml" in result.err


def test_nothing_of_paramiko_reaches_the_screen(
    site: Site, start_hosts: StartHosts, tmp_path: Path
) -> None:
    with listener() as (server, place):
        site.write(
            start_hosts(1),
            more=f'[[hosts]]\nname = "odd"\naddress = "127.0.0.1"\nport = {place["port"]}\n',
        )
        command = [sys.executable, "-m", "dnnbench", "hosts", "trust", "--yes"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            client, _ = server.accept()
            with client:
                client.sendall(b"no SSH here\r\n" * 100)
                _, err = process.communicate(timeout=30)
    assert process.returncode == HostError.exit_code
    first, second = err.splitlines()
    assert first == (
        f"dnnbench: error: odd: 127.0.0.1 port {place['port']} does not speak SSH; check its port"
    )
    assert second.startswith("added 1 key to ")
