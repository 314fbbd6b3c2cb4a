"""Hosts that send without end, to a controller with little memory: it stays within its bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from support import PROJECT, SUPPORT, TESTS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartHosts

TIMEOUT_S = 120.0


def flooded(kind: str, *arguments: str) -> str:
    """Return what the controller prints; it must end well, without a word on standard error."""
    done = subprocess.run(
        [sys.executable, SUPPORT / "flooded.py", kind, *arguments],
        env={"PYTHONPATH": f"{PROJECT}:{TESTS}", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_an_agent_that_never_ends_its_line_is_lost() -> None:
    said = flooded("endless_line")
    assert said == "localhost: expected lines of at most 1,048,576 bytes, found more"


def test_an_agent_that_sends_faster_than_it_is_read_has_to_wait() -> None:
    assert flooded("endless_events") == "an event"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("endless_answer", "node1: `facts` printed more than 1,048,576 bytes"),
        ("endless_facts", "node1: `facts` printed more than 1,048,576 bytes"),
        ("endless_errors", "0 True True"),
        ("endless_stream", "1048576"),
    ],
)
def test_a_host_that_answers_without_end_is_refused(
    start_hosts: StartHosts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    said: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    hosts = start_hosts(1)
    given = {
        "host": msgspec.to_builtins(hosts.configs[0]),
        "settings": msgspec.to_builtins(hosts.settings),
    }
    assert flooded(kind, json.dumps(given)) == said
