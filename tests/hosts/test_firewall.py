"""The rules that admit only a cluster's hosts to its ports: their text, and that they work."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from dnnbench.hosts.onhost import firewall
from dnnbench.hosts.onhost.wire import HostProblem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORT = 23000
GUARDED, INSIDER, OUTSIDER = "10.213.7.1", "10.213.7.2", "10.213.7.3"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).recv(1)"
LISTEN = """\
import socket, sys
listener = socket.create_server(("", int(sys.argv[1])))
print("listening", flush=True)
while True:
    listener.accept()[0].send(b".")
"""
CALL = """\
import sys
from dnnbench.hosts.onhost import firewall
print({call})
"""


def test_the_script_drops_whoever_is_not_listed_in_both_families() -> None:
    text = firewall.script("c1", [23001, 23000], ["10.0.0.2", "fd00::2", "10.0.0.1"])
    assert "tcp dport { 23000, 23001 } ip saddr { 10.0.0.1, 10.0.0.2 } accept" in text
    assert "tcp dport { 23000, 23001 } ip6 saddr { fd00::2 } accept" in text
    assert text.index("accept\n    tcp dport { 23000, 23001 } drop") > text.index("fd00::2")


def test_an_address_that_is_none_never_reaches_the_rules() -> None:
    with pytest.raises(ValueError, match="flush"):
        firewall.script("c1", [23000], ["10.0.0.1 } accept; flush ruleset; {"])


def test_any_name_makes_a_table_and_is_found_again() -> None:
    name = "3f2a/node-1.lab_ü"
    table = firewall._table(name)
    assert table.isascii()
    assert table.replace("_", "a").isalnum()
    assert firewall._decoded(table[len("dnnbench_") :]) == name


def test_without_nft_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(HostProblem, match="nft is not installed"):
        firewall.admit("c1", [23000], [])


def test_without_the_right_to_it_what_nft_said_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft = tmp_path / "nft"
    nft.write_text("#!/bin/sh\necho 'Error: Operation not permitted' >&2\nexit 1\n")
    nft.chmod(0o700)
    monkeypatch.setattr(firewall, "_PATH", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostProblem, match="Operation not permitted") as error:
        firewall.admit("c1", [23000], [])
    assert "sudo -n nft" in str(error.value.remedy)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _inside(namespace: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ip", "netns", "exec", namespace, *command],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def network() -> Iterator[dict[str, str]]:
    """Three hosts on a bridge: address -> network namespace."""
    if os.getuid():
        pytest.skip("network namespaces are root's to make")
    if not shutil.which("ip") or not shutil.which("nft"):
        pytest.skip("ip or nft is not installed")
    mark = uuid.uuid4().hex[:6]
    names = {a: f"dnnb-{mark}-{a[-1]}" for a in (GUARDED, INSIDER, OUTSIDER)}
    switch = f"dnnb-{mark}-0"
    made = []
    try:
        for name in (switch, *names.values()):
            try:
                _ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace can be made here: {error.stderr!r}")
            made.append(name)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for address, name in names.items():
            port = f"port{address[-1]}"
            peer = ("peer", "name", "eth0", "netns", name)
            _ip("-n", switch, "link", "add", port, "type", "veth", *peer)
            _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            _ip("netns", "delete", name)  # its interfaces go with it


@pytest.fixture
def listening(network: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        ["ip", "netns", "exec", network[GUARDED], sys.executable, "-c", LISTEN, str(PORT)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "listening\n"
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


@pytest.mark.usefixtures("listening")
def test_an_outsider_is_kept_out_until_the_rules_are_lifted(network: dict[str, str]) -> None:
    def reaches(address: str) -> bool:
        arguments = ["-c", CONNECT, GUARDED, str(PORT)]
        return _inside(network[address], sys.executable, *arguments).returncode == 0

    def call(text: str) -> str:
        script = CALL.format(call=text)
        done = _inside(network[GUARDED], sys.executable, "-c", script)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    everybody = dict.fromkeys(network, True)
    assert {address: reaches(address) for address in network} == everybody
    for _ in range(2):  # the second time, the rules replace themselves
        call(f"firewall.admit('c/1', [{PORT}], ['{INSIDER}'])")
    assert call("firewall.tables()") == "['c/1']"
    admitted = {address: reaches(address) for address in network}
    assert admitted == {GUARDED: True, INSIDER: True, OUTSIDER: False}
    for _ in range(2):
        call("firewall.lift('c/1')")
    assert call("firewall.tables()") == "[]"
    assert {address: reaches(address) for address in network} == everybody
