"""Whatever a user's environment holds, a trial runs; what may change its figures is recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import PROJECT

from dnnbench.errors import HostError
from dnnbench.hosts.local import LocalAgents
from dnnbench.sweep.placement import Host
from dnnbench.sweep.results import open_sweep
from dnnbench.trial.role_environment import NOT_STORED

RUN = [
    *(sys.executable, "-m", "dnnbench", "run", "--dataset", "synthetic-mnist", "--nodes", "3"),
    *("--protocols", "downpour", "--repeats", "1", "--epochs", "1", "--batch-size", "1000"),
]
TIMEOUT_S = 300


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_trial_runs_in_the_worst_of_environments() -> None:
    for name in ("random", "string", "queue", "numpy", "keras"):
        Path(f"{name}.py").write_text("raise RuntimeError('not the one of the library')\n")
    Path("nets.py").write_text(
        "import keras\nimport os\nprint('hello from a model')\n"
        "assert (os.environ['MY_TOKEN'], os.environ['MY_RATE']) == ('s3cret', '0.5')\n"
        "def tiny(**_):\n"
        "    return keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])\n"
    )
    Path("path").mkdir()
    Path("path/sitecustomize.py").write_text("print('hello', end='', flush=True)\n")
    Path("home/.keras").mkdir(parents=True)
    Path("home/.keras/keras.json").write_text(
        json.dumps({"floatx": "float16", "image_data_format": "channels_first"})
    )
    environment = {
        **os.environ,
        "HOME": str(Path("home").resolve()),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(Path("path").resolve())]),
        "OMP_NUM_THREADS": "1",
        "MY_TOKEN": "s3cret",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONSTARTUP": "nowhere.py",
        **dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9"),
    }
    done = subprocess.run(
        [*RUN, "--model", "nets:tiny", "--environment", "MY_TOKEN,MY_RATE=0.5"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    store = open_sweep(Path("results"))
    (outcome,) = store.outcomes()
    assert outcome.status == "ok"
    assert outcome.parameters == 7850
    (session,) = store.sessions()
    assert session.before.variables["OMP_NUM_THREADS"] == "1"
    assert session.hosts["localhost"].variables["OMP_NUM_THREADS"] == "1"
    assert not any("proxy" in name for name in session.before.variables)
    report = next(store.path.glob("report.md")).read_text()
    assert "the environment of the roles had OMP_NUM_THREADS=1" in report
    assert "the environment of the roles had MY_RATE=0.5" in report
    assert f"the environment of the roles had MY_TOKEN={NOT_STORED}" in report
    assert not [f for f in store.path.rglob("*") if f.is_file() and b"s3cret" in f.read_bytes()]


@pytest.mark.parametrize(
    ("limit", "named"),
    [("ulimit -n 64", "open files, found 64"), ("ulimit -v 2000000", "of virtual memory, found")],
)
def test_a_limit_that_is_too_low_is_named(limit: str, named: str) -> None:
    script = f'{limit}; exec "$0" "$@"'
    done = subprocess.run(
        ["sh", "-c", script, *RUN],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == HostError.exit_code, done.stderr
    assert named in done.stderr.splitlines()[-1]


def test_a_machine_that_does_not_reach_itself_is_named(tmp_path: Path) -> None:
    unreachable = Host("localhost", "203.0.113.1")
    with pytest.raises(HostError, match=r"localhost: expected to reach itself at 203\.0\.113\.1"):
        LocalAgents().start([unreachable], 1, tmp_path, print)
