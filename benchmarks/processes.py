"""Processes of a benchmark: run them to their end with a deadline, and leave none behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dnnbench
from benchmarks.testbed.processes import descendants, of_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.harness import Measures

ROOT = Path(dnnbench.__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
_POLL_S = 0.02
_TAIL_LINES = 8


class BenchmarkError(Exception):
    """A side could not be measured."""


def environment() -> dict[str, str]:
    """Return the environment of every side: without GPUs, log output and the caller's settings."""
    # Also without Python's: one that disables compiled modules would slow down every start.
    others = ("DNNBENCH_", "ANSIBLE_", "PYTHON")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1", "TERM": "dumb"}
    return {**kept, **quiet, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def started(command: Sequence[str], log: Path, cwd: Path | None = None) -> Iterator[Any]:
    """Start a command in a session of its own; at the end kill it with all its descendants."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for pid in {*descendants(process.pid), *of_session(process.pid), process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def wait_for(
    condition: Callable[[], bool], what: str, timeout_s: float, process: Any, log: Path
) -> None:
    """Wait until a condition holds while a process runs.

    Raises:
        BenchmarkError: the process ended first, or the timeout passed.
    """
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if process.poll() is not None:
            raise BenchmarkError(f"ended with {process.returncode} before {what}: {tail(log)}")
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"waited {timeout_s:.0f} s for {what}: {tail(log)}")
        time.sleep(_POLL_S)


def run_peer(command: Sequence[str], log: Path, timeout_s: float) -> Measures:
    """Run a peer to its end and return its answer, the last line that it printed.

    Raises:
        BenchmarkError: it failed or took too long.
    """
    log.unlink(missing_ok=True)
    with started(command, log) as process:
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(
                f"waited {timeout_s:.0f} s for {command[1]}: {tail(log)}"
            ) from None
    answers = [line for line in log.read_text().splitlines() if line.startswith('{"')]
    if code or not answers:
        raise BenchmarkError(f"{command[1]} ended with {code}: {tail(log)}")
    answer: Measures = json.loads(answers[-1])
    return answer


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return " | ".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


def timed_run(command: Sequence[str], timeout_s: float, cwd: Path) -> float:
    """Return the seconds of a command from its start to its end; its output is discarded.

    Raises:
        BenchmarkError: it failed.
    """
    start_s = time.perf_counter()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=cwd,
        timeout=timeout_s,
        check=False,
    )
    duration_s = time.perf_counter() - start_s
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr!r}")
    return duration_s


def proportional_bytes(pids: Sequence[int]) -> int:
    """Return the total proportional set size of processes: shared pages count once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def has_torch(python: str) -> bool:
    """Return whether an interpreter can import PyTorch."""
    done = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    return done.returncode == 0


def python(*arguments: str) -> list[str]:
    """Return a command for this interpreter."""
    return [sys.executable, *arguments]
