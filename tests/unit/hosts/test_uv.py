"""The choice between uv and pip on a host."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from dnnbench.hosts.onhost import uv
from dnnbench.hosts.provision import steps
from dnnbench.hosts.provision.facts import Facts
from dnnbench.settings.schema import Config
from dnnbench.settings.tables.hosts import ProvisionConfig

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.hosts.provision.tools import HostTools

FACTS = {
    "directory": "/home/u/.dnnbench",
    "directory_id": "0",
    "hostname": "h",
    "user": "u",
    "machine": "x86_64",
    "cpu_flags_missing": [],
    "cores": 2.0,
    "memory_bytes": 1,
    "disk_free_bytes": 1,
    "addresses": [],
    "environments": [],
    "packages": [],
    "data": {},
    "pythons": [],
    "ports_free": 9,
    "ports_used": [],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host where neither uv nor settings of pip are."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(uv, "_PIP_FILES", [each for each in uv._PIP_FILES if each[0] == "~"])
    for name in uv._PIP_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o700)
    return path


@pytest.mark.parametrize("place", ["bin/uv", ".local/bin/uv", ".cargo/bin/uv"])
def test_it_is_found_where_its_installers_put_it(home: Path, place: str) -> None:
    assert uv.state(source_is_given=False) == uv.MISSING
    assert uv.found() is None
    path = _made(home / place)
    assert uv.found() == str(path)
    assert uv.state(source_is_given=False) == uv.THERE


@pytest.mark.parametrize("file", [".pip/pip.conf", ".config/pip/pip.conf"])
def test_settings_of_pip_in_a_file_are_obeyed(home: Path, file: str) -> None:
    _made(home / "bin" / "uv")
    _made(home / file)
    assert uv.state(source_is_given=False) == uv.UNWANTED
    assert uv.state(source_is_given=True) == uv.THERE


def test_settings_of_pip_in_the_environment_are_obeyed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.exists()
    monkeypatch.setenv("PIP_INDEX_URL", "https://pypi.example/simple")
    assert uv.state(source_is_given=False) == uv.UNWANTED
    assert uv.state(source_is_given=True) == uv.MISSING


class _Tools:
    """What is pushed to a host."""

    def __init__(self) -> None:
        self.host = "node1"
        self.connection = self
        self.pushed: list[tuple[str, str]] = []

    def push(self, local: Path, remote: str) -> None:
        self.pushed.append((local.name, remote))


@pytest.mark.parametrize(
    ("state", "machine", "wanted", "expected"),
    [
        (uv.THERE, "other", True, True),
        (uv.MISSING, platform.machine(), True, "tools/uv"),
        (uv.MISSING, "other", True, None),
        (uv.UNWANTED, platform.machine(), True, None),
        (uv.THERE, platform.machine(), False, None),
    ],
)
def test_it_is_pushed_where_it_is_missing_and_would_run(
    home: Path, state: str, machine: str, *, wanted: bool, expected: bool | str | None
) -> None:
    _made(home / "bin" / "uv")
    facts = msgspec.convert(FACTS | {"uv": state, "machine": machine}, Facts)
    config = Config(provision=ProvisionConfig(uv=wanted))
    tools = _Tools()
    found, note = steps._uv(cast("HostTools", tools), config, facts)
    assert found == expected
    assert bool(note) == bool(expected)
    assert tools.pushed == ([("uv", "/home/u/.dnnbench/tools/uv")] if found == "tools/uv" else [])
