"""Find a host's interpreters, and whether they can create virtual environments."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from .wire import decoded

if TYPE_CHECKING:
    from .wire import Answer

NAMES = ("python3.13", "python3.12", "python3.11", "python3.10", "python3")
_DEADLINE_S = 10.0
_ANSWER_BYTES = 1 << 12
_QUESTION = """\
import json, sys
try:
    import ensurepip, venv
    able = True
except ImportError:
    able = False
version = ".".join(map(str, sys.version_info[:3]))
print(json.dumps({"path": sys.executable, "version": version, "venv": able}))
"""


def found(asked: str | None) -> list[Answer]:
    """Return interpreters, each once; only the requested one if there is one."""
    names = (os.path.expanduser(asked),) if asked else NAMES
    paths = [path for path in map(shutil.which, names) if path]
    started = [_start(path) for path in paths]  # concurrently: each is slow to start
    deadline_s = time.monotonic() + _DEADLINE_S
    answers: dict[str, Answer] = {}
    for process in filter(None, started):
        answer = _answer(process, deadline_s)
        if answer:
            answers.setdefault(os.path.realpath(answer["path"]), answer)
    return list(answers.values())


def _start(path: str) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            [path, "-I", "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


def _answer(process: subprocess.Popen[bytes], deadline_s: float) -> Answer | None:
    """Read an interpreter's answer and end it; None if it is not a Python."""
    assert process.stdout
    text = b""
    with process.stdout as output:
        while len(text) < _ANSWER_BYTES:
            left_s = max(deadline_s - time.monotonic(), 0.1)
            chunk = b""
            if select.select([output], [], [], left_s)[0]:
                chunk = os.read(output.fileno(), _ANSWER_BYTES)
            if not chunk:
                break
            text += chunk
    process.kill()
    process.wait()
    try:
        answer = decoded(text)
    except ValueError:
        return None
    return (
        answer if isinstance(answer, dict) and {"path", "version", "venv"} <= set(answer) else None
    )
