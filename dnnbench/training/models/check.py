"""Build a model once, as a trial does, and report what is wrong with it.

Started by `dnnbench.training.start`, it reads a `Question` on standard input and writes an
`Answer`, each one JSON document.
"""

from __future__ import annotations

import os
import sys

import msgspec

from dnnbench.data.sets import ExampleShape
from dnnbench.errors import DnnbenchError
from dnnbench.training.libraries import import_libraries
from dnnbench.training.roles.process import die_with_parent
from dnnbench.trial.spec import ModelSpec, ProtocolSpec

NO_TENSORFLOW = 78
"""The exit code where TensorFlow is not installed here; hosts may have it."""


class Question(msgspec.Struct, frozen=True):
    """A model, and the data that it is to fit."""

    model: ModelSpec
    examples: ExampleShape


class Answer(msgspec.Struct, frozen=True):
    """What is wrong with the model, and what to do about it; None if nothing is."""

    problem: str | None = None
    remedy: str | None = None


def check(question: Question) -> None:
    """Build the model and the graph of its step, in both forms.

    Raises:
        DnnbenchError: the model cannot be trained.
    """
    from dnnbench.training.graph.setting import StepSetting
    from dnnbench.training.graph.step import build_step_graph
    from dnnbench.training.models.registry import build_model, refusal

    model = build_model(question.model, 0, question.examples)
    for own_core in (False, True):
        setting = StepSetting(
            model=question.model,
            protocol=ProtocolSpec(),
            examples=question.examples,
            parameter_servers=1,
            batch_size=2,
            steps_per_run=1,
            own_core=own_core,
        )
        try:
            build_step_graph(setting, model)
        except DnnbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise refusal(question.model.name, error) from error


def main(answer_fd: int) -> None:
    """Answer one question."""
    die_with_parent(os.getppid())
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    try:
        import_libraries()
    except ImportError:
        sys.exit(NO_TENSORFLOW)
    answer = Answer()
    try:
        check(question)
    except DnnbenchError as error:
        answer = Answer(error.problem, error.remedy)
    os.write(answer_fd, msgspec.json.encode(answer))
    os._exit(0)  # whatever threads the model has started
