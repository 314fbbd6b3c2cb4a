"""The examples in docs/, run as they stand, as far as they need no hosts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import PROJECT

from dnnbench.settings.setting import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = PROJECT / "docs" / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/dnnbench.toml"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A directory for the sweeps, so that the checkout stays as it is."""
    return tmp_path / "results"


def call(example: str, results: Path, *arguments: str) -> str:
    """Return what a command prints that is typed in a copy of an example's folder."""
    folder = results.parent / example
    if not folder.exists():
        shutil.copytree(EXAMPLES / example, folder)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", "dnnbench", *arguments, "--results-dir", str(results)],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(PROJECT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_every_example_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert NAMES
    assert sorted(re.findall(r"\((.+)/dnnbench\.toml\)", page)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_example_can_be_planned(name: str, results: Path) -> None:
    assert "trials" in call(name, results, "run", "--dry-run", "--dataset", "synthetic-mnist")
    assert not results.exists()


def test_twelve_hosts_share_none(results: Path) -> None:
    plan = call(
        "twelve-hosts", results, "run", "--dry-run", "--dataset", "synthetic-mnist", "--nodes", "12"
    )
    assert all(f"node{number:02}" in plan for number in range(1, 13))


@pytest.mark.long
def test_own_model_and_its_cost_by_an_own_price_book(results: Path) -> None:
    report = call("own-model", results, "run", "--nodes", "2", "--repeats", "1", "--epochs", "1")
    assert "wide_net:wide_net" in report
    assert "0.15" in call("price-book", results, "cost")
