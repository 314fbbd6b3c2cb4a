from __future__ import annotations

import importlib
import pkgutil

import pytest

from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.errors import ConfigError
from dnnbench.training import optimizers, protocols
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.protocols.base import make_shard
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import OPTIMIZERS, ModelSpec, ProtocolSpec


def test_every_protocol_of_the_table_has_its_module_and_every_module_its_entry() -> None:
    modules = {module.name for module in pkgutil.iter_modules(protocols.__path__)}
    assert modules - {"base"} == {name.replace("-", "_") for name in PROTOCOLS}
    for name in modules - {"base"}:
        module = importlib.import_module(f"{protocols.__name__}.{name}")
        assert callable(module.make_shard)


def test_every_optimizer_of_the_table_has_its_class_and_every_class_its_entry() -> None:
    assert tuple(optimizers.OPTIMIZERS) == OPTIMIZERS


def test_an_unknown_protocol_or_optimizer_is_never_trained_as_another() -> None:
    setting = StepSetting(
        model=ModelSpec(),
        protocol=ProtocolSpec("elastic"),
        examples=SYNTHETIC_EXAMPLES,
        parameter_servers=1,
        batch_size=1,
        steps_per_run=1,
    )
    with pytest.raises(ConfigError, match="there is no protocol 'elastic', expected one of"):
        make_shard(0, 1, setting)
    with pytest.raises(ConfigError, match="there is no optimizer 'lion', expected one of sgd"):
        optimizers.make_optimizer(ProtocolSpec(optimizer="lion"), 1, None)
    with pytest.raises(ConfigError, match="momentum does not combine with optimizer adagrad"):
        optimizers.make_optimizer(ProtocolSpec(optimizer="adagrad", momentum=0.9), 1, None)
