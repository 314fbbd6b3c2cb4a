"""A user's own model is built once before a cluster starts: each fault is one clear line."""

from __future__ import annotations

import os

import pytest
from support import PROJECT, SUPPORT
from support.tensorflow_child import in_child

from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.errors import ConfigError
from dnnbench.hosts.model_check import check_model
from dnnbench.training.models.check import Question, check
from dnnbench.trial.spec import ModelSpec

MODULE = "support.bad_models"

BAD = {
    "seven": "to have outputs of shape (10,), one for each class, found (7,)",
    "subclass_of_seven": "to have outputs of shape (10,), one for each class, found (7,)",
    "nothing": "to return a Keras model, found NoneType",
    "a_list": "to return a Keras model, found list",
    "raising": "raised ValueError: two lines",
    "leaving": "raised SystemExit: no license",
    "softmax": "to have logits as outputs, found ones that sum to 1, as after softmax; leave",
    "without_weights": "to have weights to train, found none",
    "strange_arguments": "with l2, dropout: missing a required argument: 'depth'; write it as",
    "without_settings": "cannot call support.bad_models:without_settings with l2, dropout: ",
    "in_a_layer": "raised ValueError: the layer's own words",
    "unused": "the loss does not depend on weight ",
    "capturing": "uses a tensor that was made outside its layers' calls",
    "no_such_net": "cannot import ",
    "layers": "to be a function",
}


def examine(name: str) -> None:
    check(Question(ModelSpec(f"{MODULE}:{name}"), SYNTHETIC_EXAMPLES))


@pytest.mark.parametrize(("name", "said"), BAD.items())
def test_a_model_that_cannot_be_trained_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        in_child(examine, name)
    line = str(error.value)
    assert said in line
    assert line.startswith("[train] model: ")
    assert "\n" not in line


@pytest.mark.parametrize("name", ["subclass", "prelu", "zeros", "printing"])
def test_a_model_that_only_looks_odd_is_taken(name: str) -> None:
    in_child(examine, name)


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{SUPPORT.parent}{os.pathsep}{PROJECT}")


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("printing", None),
        ("softmax", "expected support.bad_models:softmax to have logits as outputs"),
        ("leaving", "support.bad_models:leaving raised SystemExit: no license"),
        (
            "ended",
            "the process that builds support.bad_models:ended ended with 9, without an",
        ),
    ],
)
def test_the_check_runs_in_a_process_of_its_own(name: str, said: str | None) -> None:
    model = ModelSpec(f"{MODULE}:{name}")
    if said is None:
        check_model(model, SYNTHETIC_EXAMPLES, "--model")
        return
    with pytest.raises(ConfigError) as error:
        check_model(model, SYNTHETIC_EXAMPLES, "--model")
    assert error.value.where == "--model"
    assert error.value.problem.startswith(f"[train] model: {said}")


@pytest.mark.usefixtures("on_path")
def test_a_model_that_takes_for_ever_is_given_up_and_leaves_no_process() -> None:
    with pytest.raises(ConfigError, match=r"endless to be built within 0\.2 s"):
        check_model(ModelSpec(f"{MODULE}:endless"), SYNTHETIC_EXAMPLES, "--model", deadline_s=0.2)


def test_dnnbenchs_own_models_are_not_built_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent")
    check_model(ModelSpec("mnist-dnn"), SYNTHETIC_EXAMPLES, "--model")
