from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dnnbench.errors import ConfigError
from dnnbench.training.models import mnist_dnn
from dnnbench.training.models.registry import _named, find_builder
from dnnbench.trial.models import MODELS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_table_has_its_builder(name: str) -> None:
    assert callable(find_builder(name))
    assert find_builder(MODELS[name]) is find_builder(name)


def test_a_name_that_is_in_no_table_and_what_cannot_be_imported_are_refused() -> None:
    assert find_builder("dnnbench.training.models.mnist_dnn:mnist_dnn") is mnist_dnn.mnist_dnn
    for name in ("no_such_module:net", "dnnbench.training.models.mnist_dnn:no_such_net"):
        with pytest.raises(ConfigError, match=f"cannot import '{name}'"):
            find_builder(name)
    with pytest.raises(ConfigError, match=r"found 'mnist-dn'; did you mean mnist-dnn\?"):
        find_builder("mnist-dn")


def test_a_builder_is_told_of_the_data_as_far_as_it_asks() -> None:
    given = {"input_shape": (28, 28, 1), "classes": 10}

    def old(*, l2: float, dropout: float) -> Any: ...
    def classes(*, l2: float, dropout: float, classes: int) -> Any: ...
    def both(*, input_shape: Any, classes: int, l2: float, dropout: float) -> Any: ...
    def everything(**options: Any) -> Any: ...

    takes = [sorted(_named(f, given)) for f in (old, classes, both, everything)]  # type: ignore[arg-type]  # on purpose
    assert takes == [[], ["classes"], ["classes", "input_shape"], ["classes", "input_shape"]]


def test_a_model_is_found_that_came_after_its_directory_was_found_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    monkeypatch.setattr(sys, "path", [str(models), *sys.path])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("late_model")
    models.mkdir()
    (models / "late_model.py").write_text("def net(): ...")
    builder: object = find_builder("late_model:net")
    assert builder is sys.modules["late_model"].net
    del sys.modules["late_model"]
