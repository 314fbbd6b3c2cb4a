from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import dnnbench
from dnnbench.hosts.provision import bundle

if TYPE_CHECKING:
    from pathlib import Path


def test_pip_installs_the_wheel_and_the_package_works_from_there(tmp_path: Path) -> None:
    wheel = bundle.wheel()
    (tmp_path / wheel.file_name).write_bytes(wheel.content)
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", target, tmp_path / wheel.file_name], check=True)
    script = """\
import importlib.metadata
from pathlib import Path
import dnnbench.trial.messages
package = Path(dnnbench.trial.messages.__file__).parent.parent
book = package / "cost/books/gcp-2017-08.toml"
print(importlib.metadata.version("dnnbench"), package, book.exists())
"""
    shown = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.split() == [dnnbench.__version__, str(target / "dnnbench"), "True"]
