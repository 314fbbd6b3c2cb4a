from __future__ import annotations

import pytest

from dnnbench.errors import ConfigError
from dnnbench.training.models import MODELS, find_builder
from dnnbench.trial import MODEL_NAMES


def test_the_settings_know_every_model_that_can_be_built() -> None:
    assert tuple(MODELS) == MODEL_NAMES


def test_a_users_own_model_is_imported_and_what_is_not_there_is_named() -> None:
    assert find_builder("dnnbench.training.models:mnist_dnn") is MODELS["mnist-dnn"]
    for name in ("no_such_module:net", "dnnbench.training.models:no_such_net"):
        with pytest.raises(ConfigError, match=f"cannot import '{name}'"):
            find_builder(name)
