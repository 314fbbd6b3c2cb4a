"""Start a process of the training side on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import dnnbench
from dnnbench.trial.role_environment import CHECKPOINTS, ENVIRONMENT, inherited

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE_PARENT: Final = Path(dnnbench.__file__).resolve().parent.parent


def start_training(
    module: str,
    log: IO[bytes] | int,
    variables: Mapping[str, str],
    checkpoints: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a module of `dnnbench.training`, with pipes to its standard input and output.

    It runs this very package, whatever the current directory contains; a user's own model in that
    directory is still found.

    Args:
        module: below ``dnnbench.training``; see `dnnbench.training.start`.
        log: file for what the process and its libraries print.
        variables: that the user passes on.
        checkpoints: directory for those of parameter servers, where the module has any.
    """
    before = os.pathsep.join([str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH", "")])
    environment = {**inherited(os.environ), **variables, **ENVIRONMENT}
    if checkpoints:
        environment[CHECKPOINTS] = str(checkpoints.resolve())
    start, main = "dnnbench.training.start", f"dnnbench.training.{module}"
    return subprocess.Popen(
        [sys.executable, "-S", "-m", start, main, before, str(Path.cwd())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=_PACKAGE_PARENT,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches the controller alone, which then ends it
    )
