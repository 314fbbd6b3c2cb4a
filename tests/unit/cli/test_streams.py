"""Whatever the standard streams, limits and directory of the process are: one line, never a bug."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import PROJECT, SUPPORT

from dnnbench.errors import EXIT_OK, ConfigError, ResultsError

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = ResultsError.exit_code
COMMAND = f"{sys.executable} -m dnnbench"


@pytest.fixture(autouse=True)
def in_a_directory_with_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    shutil.copytree(SUPPORT / "stored" / "results", "results")


@pytest.mark.parametrize(
    ("script", "code", "line"),
    [
        ("$D report >&-", REFUSED, "standard output: cannot be written"),
        ("$D report --format json >&-", REFUSED, "standard output: cannot be written"),
        ("$D cost -q >/dev/full", REFUSED, "standard output: cannot be written: No space"),
        ("$D report >/dev/full", REFUSED, "standard output: cannot be written: No space"),
        ("$D --help >/dev/full", REFUSED, "standard output: cannot be written: No space"),
        ("$D cost --help >/dev/full", REFUSED, "standard output: cannot be written: No space"),
        ("$D --version >&-", REFUSED, "standard output: cannot be written: Bad file"),
        ("$D report --full 2>&- >/dev/null", EXIT_OK, None),
        ("$D report 2>/dev/full >/dev/null", EXIT_OK, None),
        ("$D report nosuch 2>&-", REFUSED, None),
        ("$D report <&- >&- 2>&-", REFUSED, None),
        ("$D report <&- -o x.md", EXIT_OK, "wrote x.md"),
        ("ulimit -f 1; $D report -o x.md", REFUSED, "x.md: cannot be written: File too large"),
        ("mkdir d; cd d; rmdir ../d; $D report", ConfigError.exit_code, "no longer exists"),
        ("COLUMNS=$(printf %05000d 9) $D report >/dev/null", EXIT_OK, None),
        ("MPLBACKEND=module://nowhere $D report -q -o x.md", EXIT_OK, None),
        ("COLUMNS=-1 $D cost -q >/dev/null", EXIT_OK, None),
    ],
)
def test_a_stream_or_limit_in_the_way_is_named(script: str, code: int, line: str | None) -> None:
    environment = {**os.environ, "D": COMMAND}
    found = subprocess.run(
        ["sh", "-c", script], env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert found.returncode == code, found.stderr
    if line is None:
        assert found.stderr == ""
    else:
        (shown,) = found.stderr.splitlines()
        assert line in shown


@pytest.mark.parametrize("command", [["report"], ["cost", "-q"], ["run", "--dry-run"]])
def test_a_user_without_a_home_directory_needs_none(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    script = "import os, pwd, sys; pwd.getpwuid = {}.__getitem__; from dnnbench.cli import main; "
    script += "sys.exit(main(sys.argv[1:]))"
    found = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (EXIT_OK, "")


def test_a_terminal_that_is_closed_is_no_bug() -> None:
    ours, theirs = pty.openpty()
    script = f"read go; exec {COMMAND} report"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.close(ours)  # whoever writes to it now gets an input/output error
        process.communicate(b"\n")
    assert process.returncode == REFUSED
