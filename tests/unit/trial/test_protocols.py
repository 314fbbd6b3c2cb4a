from __future__ import annotations

import msgspec
import pytest
from support.factories import make_order

from dnnbench.errors import ConfigError
from dnnbench.settings.schema import ProtocolConfig, TrainConfig
from dnnbench.trial.messages import Prepare, decode_order, encode
from dnnbench.trial.protocols import PROTOCOLS, Protocol, find_protocol, position
from dnnbench.trial.spec import OPTIMIZERS, CellKey, ProtocolSpec, grid


@pytest.mark.parametrize("name", PROTOCOLS)
def test_an_entry_is_whole(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.title
    assert protocol.step_cost > 0
    assert protocol.fixed_nodes is None or not protocol.needs_parameter_server
    if protocol.baseline is not None:
        assert position(protocol.baseline) < position(name)
    assert protocol.fixed.keys() <= set(ProtocolSpec.__struct_fields__)
    assert {refusal.name for refusal in protocol.refuses} <= set(TrainConfig.__struct_fields__)
    options = {option.name for option in protocol.options}
    assert options <= set(ProtocolSpec.__struct_fields__) & set(ProtocolConfig.__struct_fields__)
    assert {option.only_with[0] for option in protocol.options if option.only_with} <= options


def test_every_setting_of_protocols_is_an_option_of_one() -> None:
    taken = {option.name for protocol in PROTOCOLS.values() for option in protocol.options}
    assert taken == set(ProtocolConfig.__struct_fields__)


def test_only_the_options_that_count_are_listed() -> None:
    dc_sgd = PROTOCOLS["dc-sgd"]
    assert PROTOCOLS["downpour"].options_of(ProtocolSpec()) == {}
    constant = ProtocolSpec("dc-sgd", compensation="constant", lambda0=0.5)
    assert dc_sgd.options_of(constant) == {"compensation": "constant", "lambda0": 0.5}
    assert set(dc_sgd.options_of(ProtocolSpec("dc-sgd"))) == {o.name for o in dc_sgd.options}


def test_a_name_that_is_not_in_the_table_raises_wherever_it_is_looked_up() -> None:
    expected = (
        f"there is no protocol 'dc_sgd', expected one of {', '.join(PROTOCOLS)}; "
        "did you mean dc-sgd?"
    )
    key = CellKey(4, "dc_sgd")
    for look_up in (
        lambda: find_protocol("dc_sgd"),
        lambda: position("dc_sgd"),
        key.baseline,
        lambda: sorted([key, CellKey(4, "downpour")]),
    ):
        with pytest.raises(ConfigError) as caught:
            look_up()
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("field", "value"), [("name", "elastic"), ("optimizer", "lion"), ("compensation", "much")]
)
def test_the_wire_refuses_names_that_are_in_no_table(field: str, value: str) -> None:
    protocol = msgspec.structs.replace(ProtocolSpec(), **{field: value})
    line = encode(Prepare(trial=make_order(protocol=protocol)))
    with pytest.raises(msgspec.ValidationError, match=f"Invalid enum value '{value}'"):
        decode_order(line)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_wire_takes_every_name_of_the_tables(name: str, optimizer: str) -> None:
    order = Prepare(trial=make_order(protocol=ProtocolSpec(name, optimizer=optimizer)))
    assert decode_order(encode(order)) == order


def test_a_schedule_rises_linearly_and_falls_at_the_epochs_given() -> None:
    assert not ProtocolSpec().is_scheduled
    assert {ProtocolSpec().rate_factor(epoch, 0.5) for epoch in (1, 2, 100)} == {1.0}
    spec = ProtocolSpec(rate_warmup_epochs=2, rate_decay_epochs=(4, 6), rate_decay=0.5)
    assert spec.is_scheduled
    at = [(1, 0.0), (1, 0.5), (1, 1.0), (2, 0.0), (2, 1.0), (3, 0.9), (4, 0.0), (5, 1.0), (6, 0.1)]
    expected = [0.0, 0.25, 0.5, 0.5, 1.0, 1.0, 0.5, 0.5, 0.25]
    assert [spec.rate_factor(*moment) for moment in at] == expected


def test_cells_sort_by_nodes_then_as_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, "averaging", Protocol("averaging", "Averaging", "dc-sgd"))
    protocols = ["downpour", "dc-sgd", "averaging"]
    in_order = [CellKey(nodes, name) for nodes in (4, 12) for name in protocols]
    assert sorted(set(in_order)) == in_order == grid((4, 12), protocols)


def test_a_cell_names_its_trials_its_baseline_and_its_like() -> None:
    key = make_order(4, "dc-sgd").cell
    assert (str(key), key.trial_id(2)) == ("dc-sgd at 4 nodes", "n04-dc-sgd-r02")
    assert key.baseline() == CellKey(4, "downpour")
    assert CellKey(4, "downpour").baseline() is None
    assert key.with_nodes(12) == CellKey(12, "dc-sgd")


def test_a_protocol_of_a_fixed_node_count_has_one_cell_beside_the_others() -> None:
    assert grid((4, 12), ("downpour", "sequential")) == [
        CellKey(4, "downpour"),
        CellKey(1, "sequential"),
        CellKey(12, "downpour"),
    ]
    assert grid((4, 8), ["sequential"]) == [CellKey(1, "sequential")]
