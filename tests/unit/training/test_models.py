from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from dnnbench.errors import ConfigError
from dnnbench.training.models.registry import MODELS, find_builder
from dnnbench.trial.spec import MODEL_NAMES

if TYPE_CHECKING:
    from pathlib import Path


def test_the_settings_know_every_model_that_can_be_built() -> None:
    assert tuple(MODELS) == MODEL_NAMES


def test_a_users_own_model_is_imported_and_what_is_not_there_is_named() -> None:
    assert find_builder("dnnbench.training.models.registry:mnist_dnn") is MODELS["mnist-dnn"]
    for name in ("no_such_module:net", "dnnbench.training.models.registry:no_such_net"):
        with pytest.raises(ConfigError, match=f"cannot import '{name}'"):
            find_builder(name)


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
