"""Build a user's own model once on this machine, in a process of its own, before a sweep."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.errors import ConfigError
from dnnbench.hosts.training_process import start_training
from dnnbench.trial.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.data.sets import ExampleShape
    from dnnbench.trial.spec import ModelSpec

DEADLINE_S = 120.0
"""Time to import TensorFlow, to build the model, and to build a step's graph in both forms."""
_NO_TENSORFLOW = 78  # the exit code of dnnbench.training.models.check


def check_model(
    model: ModelSpec,
    examples: ExampleShape,
    where: str,
    *,
    variables: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Refuse a user's own model that cannot be trained on such examples.

    dnnbench's own models are not built. If TensorFlow is not installed here, nothing is checked.

    Args:
        model: a model named ``module:function``.
        examples: shape of the sweep's examples.
        where: place where the model was given.
        variables: that the user passes on.
        deadline_s: time limit of the process.

    Raises:
        ConfigError: the model cannot be trained.
    """
    if model.name in MODELS:
        return
    question = msgspec.json.encode({"model": model, "examples": examples})
    with start_training("models.check", subprocess.DEVNULL, variables or {}) as process:
        try:
            answer, _ = process.communicate(question, deadline_s)
        except subprocess.TimeoutExpired:
            problem = f"[train] model: expected {model.name} to be built within {deadline_s:g} s"
            raise ConfigError(problem, where=where) from None
        finally:
            with contextlib.suppress(ProcessLookupError):  # with everything that the model started
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == _NO_TENSORFLOW:
        return
    _judge(answer, process.returncode, model.name, where)


def _judge(answer: bytes, code: int, name: str, where: str) -> None:
    try:
        found: dict[str, Any] = msgspec.json.decode(answer, type=dict[str, Any])
    except msgspec.DecodeError:
        end = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        raise ConfigError(
            f"[train] model: the process that builds {name} {end}, without an answer",
            where=where,
            remedy="call the function in Python yourself to see why",
        ) from None
    if found["problem"] is not None:
        problem = f"[train] model: {found['problem']}"
        raise ConfigError(problem, where=where, remedy=found["remedy"])
