"""Settings and hosts in, the ordered trials of a sweep out; a dry run prints this very value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.sweep.estimate import TimeModel
from dnnbench.sweep.own_model import model_digest
from dnnbench.sweep.placement import PLACEMENT_RULE, Host, local_inventory, place
from dnnbench.trial.machine import usable_cores
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.seeds import order_seed, repeat_seed
from dnnbench.trial.spec import DataSpec, ModelSpec, ProtocolSpec, TrialSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.settings.schema import Config
    from dnnbench.trial.spec import CellKey, ProtocolName


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sweep before it runs.

    Attributes:
        orders: in the order they run in.
        estimated_s: trial id -> seconds.
        data_note: why the data set stands in for another; None where it does not.
    """

    sweep: str
    orders: list[TrialSpec]
    hosts: list[Host]
    placement_rule: str
    estimated_s: dict[str, float]
    data_note: str | None = None

    def placement(self, spec: TrialSpec) -> dict[str, str]:
        """Return which host each task of a trial runs on."""
        return place(spec.nodes, spec.parameter_servers, self.hosts)


def make_plan(
    config: Config,
    data: DataSpec,
    sweep_id: str,
    *,
    hosts: Sequence[Host] | None = None,
    cores: float | None = None,
    measured_s: Mapping[CellKey, float] | None = None,
    time_model: TimeModel | None = None,
    data_note: str | None = None,
) -> Plan:
    """Order every trial of a sweep.

    Each repeat is a block that holds every cell once, shuffled by a seed of its own: a machine that
    warms up or gets busy then hits all cells alike, and a sweep cut short has even cells.

    Args:
        config: as resolved.
        data: the data set that was found.
        sweep_id: see `dnnbench.sweep.store.new_sweep_id`.
        hosts: this machine if None.
        cores: of this machine, if None.
        measured_s: cell -> seconds of such a trial in an earlier sweep of the same settings; takes
            the place of the estimate.
        time_model: for the estimate.
        data_note: see `dnnbench.data.locate.Located`.

    Raises:
        ConfigError: the hosts have too few slots for the largest trial.
    """
    hosts = local_inventory() if hosts is None else list(hosts)
    cores = usable_cores() if cores is None else cores
    largest = config.sweep.largest
    place(largest.nodes, config.sweep.servers_of(largest), hosts)
    specs = [
        _spec(config, data, sweep_id, cell=cell, repeat=repeat)
        for repeat in range(1, config.sweep.repeats + 1)
        for cell in _shuffled_cells(config, repeat)
    ]
    model = time_model or TimeModel()
    known = measured_s or {}
    estimated_s = {spec.id: known.get(spec.cell) or model.trial_s(spec, cores) for spec in specs}
    return Plan(sweep_id, specs, hosts, PLACEMENT_RULE, estimated_s, data_note)


def _shuffled_cells(config: Config, repeat: int) -> list[CellKey]:
    import random  # a stored plan is read without

    cells = config.sweep.cells
    random.Random(order_seed(config.sweep.seed, repeat)).shuffle(cells)  # noqa: S311 - order, not secrecy
    return cells


def _spec(
    config: Config, data: DataSpec, sweep_id: str, *, cell: CellKey, repeat: int
) -> TrialSpec:
    train = config.train
    return TrialSpec(
        id=cell.trial_id(repeat),
        sweep=sweep_id,
        nodes=cell.nodes,
        parameter_servers=config.sweep.servers_of(cell),
        repeat=repeat,
        seed=repeat_seed(config.sweep.seed, repeat),
        data=data,
        model=ModelSpec(
            train.model, l2=train.l2, dropout=train.dropout, digest=model_digest(train.model)
        ),
        protocol=_protocol(config, cell.protocol),
        batch_size=train.batch_size,
        epochs=train.epochs,
        epoch_definition=train.epoch,
        warmup_steps=train.warmup_steps,
        steps_per_run=train.steps_per_run,
    )


def _protocol(config: Config, name: ProtocolName) -> ProtocolSpec:
    """Return the protocol with those settings of ``[protocol]`` that it takes."""
    given = msgspec.structs.asdict(config.protocol) | {"lambda0": config.protocol.chosen_lambda0}
    options = {option.name: given[option.name] for option in find_protocol(name).options}
    return ProtocolSpec(
        name, optimizer=config.train.optimizer, learning_rate=config.train.learning_rate, **options
    )
