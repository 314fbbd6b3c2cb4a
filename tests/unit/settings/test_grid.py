from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnbench.errors import ConfigError
from dnnbench.settings import grid
from dnnbench.settings.load import load
from dnnbench.settings.schema import Config, SweepConfig, settings
from dnnbench.sweep.plan import make_plan
from dnnbench.trial.protocols import PROTOCOLS, find_protocol
from dnnbench.trial.spec import VARIABLE, CellKey, DataSpec, ProtocolSpec, TrialSpec
from dnnbench.trial.variation import value_text

DATA = DataSpec("mnist", "/srv/mnist", "0" * 64, train_examples=55_000)
VALUES: dict[str, tuple[Any, ...]] = {
    "train.batch_size": (50, 100),
    "train.learning_rate": (0.1, 0.3, 0.5),
    "train.label_noise": (0.0, 0.2),
    "protocol.compensation": ("constant", "adaptive"),
    "protocol.lambda0": (0.0, 1.0),
    "protocol.mean_square_decay": (0.9, 0.95),
    "protocol.backup_workers": (0, 1),
}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Draw a sweep that varies some settings, not all of which every protocol takes."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=4))
    protocols = draw(st.lists(st.sampled_from(sorted(PROTOCOLS)), unique=True, min_size=1))
    nodes = draw(st.lists(st.sampled_from([4, 6, 9]), unique=True, min_size=1))
    sweep = SweepConfig(nodes=tuple(nodes), protocols=tuple(protocols), repeats=2)
    return Config(sweep=sweep, varied={name: VALUES[name] for name in VALUES if name in names})


def combined(config: Config) -> set[tuple[int, str, frozenset[tuple[str, Any]]]]:
    """Return the cells by brute force: every combination, without what does not count in it."""
    options = {option.name for protocol in PROTOCOLS.values() for option in protocol.options}
    names = [key.partition(".")[2] for key in config.varied]
    found = set()
    for name, values in itertools.product(
        config.sweep.protocols, itertools.product(*config.varied.values())
    ):
        protocol, chosen = find_protocol(name), dict(zip(names, values, strict=True))
        own = {key: value for key, value in chosen.items() if key in options}
        counts = protocol.options_of(ProtocolSpec(name, **(own | protocol.fixed)))
        kept = frozenset((k, v) for k, v in chosen.items() if k not in options or k in counts)
        found |= {(protocol.fixed_nodes or n, name, kept) for n in config.sweep.nodes}
    return found


@given(configs())
def test_the_cells_are_the_product_without_what_a_protocol_does_not_take(config: Config) -> None:
    cells = grid.cells(config)
    assert {(cell.nodes, cell.protocol, frozenset(cell.variation)) for cell in cells} == combined(
        config
    )
    assert len(cells) == len(set(cells)) == grid.count_cells(config)
    assert len({cell.trial_id(1) for cell in cells}) == len(cells)


@given(configs())
def test_every_repeat_of_the_plan_has_every_cell_once_with_its_values(config: Config) -> None:
    orders = make_plan(config, DATA, "sweep", cores=2.0).orders
    cells = set(grid.cells(config))
    assert len(orders) == 2 * len(cells)
    for repeat in (1, 2):
        block = orders[(repeat - 1) * len(cells) : repeat * len(cells)]
        assert {order.repeat for order in block} == {repeat}
        assert len({order.seed for order in block}) == 1
        assert {order.cell for order in block} == cells
    for order in orders:
        assert msgspec.json.decode(msgspec.json.encode(order), type=TrialSpec) == order


def test_the_order_of_cells_differs_between_repeats() -> None:
    config = Config(varied={"train.learning_rate": (0.1, 0.3, 0.5)})
    plan = make_plan(config, DATA, "sweep", cores=2.0)
    cells = len(grid.cells(config))
    blocks = [
        tuple(order.cell for order in plan.orders[start : start + cells])
        for start in range(0, len(plan.orders), cells)
    ]
    assert len(set(blocks)) == len(blocks) == 3


@pytest.mark.parametrize(
    "layer",
    [
        {"text": "[train]\nlearning_rate = [0.1, 0.3]\nbatch_size = [50]\n"},
        {
            "environ": {
                "DNNBENCH_TRAIN_LEARNING_RATE": "0.1, 0.3",
                "DNNBENCH_TRAIN_BATCH_SIZE": "50",
            }
        },
        {"options": {"train.learning_rate": "0.1,0.3", "train.batch_size": "50"}},
    ],
    ids=lambda layer: next(iter(layer)),
)
def test_a_list_may_stand_where_a_value_may(layer: dict[str, Any]) -> None:
    Path("dnnbench.toml").write_text(layer.get("text", ""), encoding="utf-8")
    config = load(None, layer.get("environ", {}), layer.get("options", {})).config
    assert config.varied == {"train.learning_rate": (0.1, 0.3)}
    assert (config.train.learning_rate, config.train.batch_size) == (0.1, 50)


def test_a_later_layer_replaces_a_list() -> None:
    Path("dnnbench.toml").write_text("[train]\nlearning_rate = [0.1, 0.3]\n", encoding="utf-8")
    config = load(None, {}, {"train.learning_rate": "0.5"}).config
    assert (config.varied, config.train.learning_rate) == ({}, 0.5)


def test_what_may_vary_is_in_the_table_of_settings_and_in_every_trial() -> None:
    assert {field.name for field in settings().values() if field.may_vary} == VARIABLE.keys()
    order = make_plan(Config(), DATA, "sweep", cores=2.0).orders[0]
    values = {name: order.value(name) for name in VARIABLE}
    assert (values["batch_size"], values["l2"], values["label_noise"]) == (100, 1e-4, 0.0)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (
            {"train.learning_rate": "0.1,0.10"},
            "--learning-rate: names a value twice, got [0.1, 0.1]",
        ),
        ({"train.learning_rate": "0.1,x"}, "--learning-rate: expected a number, got '0.1,x'"),
        ({"train.batch_size": "10,"}, "--batch-size: expected a whole number"),
        (
            {"protocol.lambda0": "1,2", "sweep.protocols": "downpour"},
            "--lambda0: lambda0 has several values, but no protocol of the sweep takes it",
        ),
        (
            {"protocol.mean_square_decay": "0.9,0.95", "protocol.compensation": "constant"},
            "--mean-square-decay: mean_square_decay has several values, but no protocol",
        ),
        (
            {"train.rate_decay": "0.1,0.5"},
            "--rate-decay: rate_decay has several values, but rate_decay_epochs names no epoch",
        ),
        (
            {"train.momentum": "0,0.9", "train.optimizer": "sgd,adagrad"},
            "--momentum: momentum does not combine with optimizer adagrad",
        ),
        (
            {"train.optimizer": "sgd,adagrad", "sweep.protocols": "staleness-aware"},
            "--optimizer: protocol staleness-aware does not combine with optimizer adagrad",
        ),
        (
            {"protocol.backup_workers": "0,3", "sweep.protocols": "sync", "sweep.nodes": "4"},
            "--backup-workers: [protocol] backup_workers: expected fewer than the 3 workers",
        ),
        ({"train.model": "mnist-dnn,lenet-5"}, "--model: there is no model 'mnist-dnn,lenet-5'"),
    ],
)
def test_a_combination_that_cannot_run_is_refused_before_the_start(
    options: dict[str, str], refusal: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {}, options)
    assert str(caught.value).startswith(refusal)
    assert "\n" not in str(caught.value)


def test_an_empty_list_is_refused_with_its_line() -> None:
    Path("dnnbench.toml").write_text("[train]\nlearning_rate = []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"dnnbench.toml:2: .*one or more values"):
        load(None, {}, {})


def test_a_plan_of_too_many_trials_is_refused_with_its_size_and_never_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_cells(_config: Config) -> list[CellKey]:
        raise AssertionError

    monkeypatch.setattr(grid, "cells", no_cells)
    monkeypatch.setattr(grid, "combinations", no_cells)
    many = ",".join(map(str, range(1, 2001)))
    lists = {"train.batch_size": many, "train.warmup_steps": many, "train.epochs": many}
    with pytest.raises(ConfigError) as caught:
        load(None, {}, lists)
    assert str(caught.value) == (
        "--batch-size: expected at most 10,000 trials, got 144,000,000,000: 48,000,000,000 cells "
        "(node counts x protocols x settings) x 3 repeats"
    )


def test_a_trial_whose_name_no_directory_can_have_is_refused() -> None:
    names = [field.key for field in settings().values() if field.may_vary and field.default == 0]
    many = {key: "0,0.12345678901" for key in names if key.startswith("train")}
    many |= {"train.learning_rate": "0.12345678901,1", "train.l2": "0,1.2345678901"}
    many |= {"train.dropout": "0,0.12345678901", "train.rate_warmup_epochs": "0,1"}
    many |= {
        "train.epochs": "100000,99999",
        "train.batch_size": "1000,999",
        "train.clip_norm": "1,2",
    }
    many |= {"sweep.repeats": "1", "sweep.nodes": "4", "protocol.epsilon": "1.234567e-7,1"}
    many |= {"sweep.protocols": "dc-sgd"}
    with pytest.raises(ConfigError, match="vary fewer settings"):
        load(None, {}, many)


def test_values_that_differ_look_different() -> None:
    assert [value_text(x) for x in (1.0, 0.3, 1e-7, 0.1234567, 0.12345671, 50, "sgd")] == [
        *("1", "0.3", "1e-07", "0.1234567", "0.12345671", "50", "sgd")
    ]


def test_trials_side_by_side_need_ports_for_all_of_them() -> None:
    hosts = "".join(f'[[hosts]]\nname = "n{number}"\n' for number in range(12))
    Path("dnnbench.toml").write_text(hosts, encoding="utf-8")
    options = {"sweep.nodes": "4", "sweep.parallel": "3", "cluster.ports": "50000-50010"}
    with pytest.raises(ConfigError, match=r"at least 12 ports, .* largest trials side by side"):
        load(None, {}, options)
    load(None, {}, options | {"sweep.parallel": "2"})
    load(None, {}, options | {"sweep.parallel": "9", "cluster.ports": "50000-50011"})
