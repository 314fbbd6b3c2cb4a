"""What is sent to hosts: a program that Python runs, a wheel that pip takes, exact requirements."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.provision import bundle

if TYPE_CHECKING:
    from pathlib import Path


def test_the_tools_run_from_their_file_alone(tmp_path: Path) -> None:
    program = tmp_path / "tools.py"
    program.write_bytes(bundle.tools().content)
    result = subprocess.run(
        [sys.executable, "-IS", program, "no-such-command"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr.startswith("usage: {facts,install,remove,")


@pytest.mark.parametrize("make", [bundle.tools, bundle.wheel])
def test_the_same_sources_give_the_same_bytes(make: Any) -> None:
    assert make.__wrapped__() == make.__wrapped__()  # not the one that is kept


def test_the_wheel_has_what_the_package_has_but_nothing_compiled() -> None:
    names = zipfile.ZipFile(io.BytesIO(bundle.wheel().content)).namelist()
    assert {"dnnbench/training/agent.py", "dnnbench/cost/books/gcp-2017-08.toml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def _installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(package: str) -> str:
        try:
            return versions[package.replace("-", "_")]
        except KeyError:
            raise metadata.PackageNotFoundError(package) from None

    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize("installed", ["tensorflow", "tensorflow_cpu"])
def test_hosts_get_the_build_that_suits_them_in_this_side_s_version(
    monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    _installed(monkeypatch, **{installed: "2.21.0"}, keras="3.1", msgspec="0.19")
    beside = ["keras==3.1", "msgspec==0.19"]
    assert bundle.requirements() == ["tensorflow-cpu==2.21.0", *beside]
    assert bundle.requirements("aarch64") == ["tensorflow==2.21.0", *beside]
    assert bundle.requirements("x86_64", "gpu") == ["tensorflow[and-cuda]==2.21.0", *beside]


def test_without_tensorflow_here_no_version_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, keras="3.1", msgspec="0.19")
    with pytest.raises(HostError, match="tensorflow-cpu is not installed here"):
        bundle.requirements()


def test_an_environment_s_key_depends_on_what_is_in_it_alone() -> None:
    key = bundle.environment_key(["a==1", "b==2"])
    assert key == bundle.environment_key(["b==2", "a==1"])
    assert key != bundle.environment_key(["a==1", "b==3"])
