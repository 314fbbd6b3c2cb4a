"""The plan of a sweep: its trials in order, made from settings and hosts; a dry run prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.errors import ConfigError
from dnnbench.kernel import usable_cores
from dnnbench.settings.grid import cells, with_variation
from dnnbench.sweep.estimate import TimeModel
from dnnbench.sweep.own_model import model_digest
from dnnbench.sweep.placement import (
    LISTED,
    PLACEMENT_RULE,
    Host,
    count_beside,
    local_inventory,
    place,
)
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.seeds import order_seed, repeat_seed
from dnnbench.trial.spec import DataSpec, ModelSpec, ProtocolSpec, TrialSpec
from dnnbench.trial.updates import check_updates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.settings.schema import Config
    from dnnbench.trial.spec import CellKey, ProtocolName


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sweep before it runs.

    Attributes:
        orders: the trials, in the order in which they run.
        estimated_s: trial id -> seconds; without the trials that nothing is known of.
        data_note: why this data set replaces the wanted one; None if it does not.
        parallel: trials that run side by side, if their sizes allow it.
        import_s: estimate of the seconds before the first trial, in which TensorFlow is imported.
        void_after: failed repeats that make a cell void; 0 for none, and in older files.
    """

    sweep: str
    orders: list[TrialSpec]
    hosts: list[Host]
    placement_rule: str
    estimated_s: dict[str, float]
    data_note: str | None = None
    parallel: int = 1
    import_s: float = 0.0
    void_after: int = 0

    def placement(self, spec: TrialSpec) -> dict[str, str]:
        """Return task -> host of a trial."""
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
    hosts_from: str = LISTED,
) -> Plan:
    """Plan the trials of a sweep.

    The cells are the product of node counts, protocols and the settings that vary. Each repeat is a
    round with every cell once, shuffled by its own seed: a machine that warms up or gets busy then
    affects all cells alike, and a sweep cut short has evenly filled cells. The first round begins
    with the smallest clusters, which give the first figures soonest.

    Args:
        config: the resolved settings.
        data: the data set that was found.
        sweep_id: see `dnnbench.sweep.results.new_sweep_id`.
        hosts: this machine if None.
        cores: those of this machine if None.
        measured_s: cell -> seconds of such a trial in an earlier sweep with the same settings;
            replaces the estimate.
        time_model: for the estimate.
        data_note: see `dnnbench.data.locate.Located`.
        hosts_from: place where the hosts were listed, for errors.

    Raises:
        ConfigError: the hosts have too few slots for the largest trial, a worker has too few
            examples for a batch, a trial has more updates than can be counted, or trials are to run
            side by side on this machine.
    """
    if config.sweep.parallel > 1 and hosts is None:
        raise ConfigError(
            f"expected hosts for {config.sweep.parallel} trials side by side: on this machine "
            "alone, they would share its cores",
            where="[sweep] parallel",
            remedy="list hosts, or run one trial at a time",
        )
    hosts = local_inventory() if hosts is None else list(hosts)
    cores = usable_cores() if cores is None else cores
    largest = config.sweep.largest
    place(largest.nodes, config.sweep.servers_of(largest), hosts, hosts_from)
    in_order = cells(config)
    first = {cell: _spec(config, data, sweep_id, cell) for cell in in_order}
    specs = [
        msgspec.structs.replace(
            first[cell],
            id=cell.trial_id(repeat),
            repeat=repeat,
            seed=repeat_seed(config.sweep.seed, repeat),
        )
        for repeat in range(1, config.sweep.repeats + 1)
        for cell in _shuffled(in_order, config.sweep.seed, repeat)
    ]
    _check_batches(specs)
    for spec in specs:
        check_updates(spec, spec.data.train_examples)
    model = time_model or TimeModel()
    known = measured_s or {}
    estimates = ((s.id, known.get(s.cell) or model.trial_s(s, cores)) for s in specs)
    estimated_s = {name: seconds for name, seconds in estimates if seconds is not None}
    parallel = max(
        count_beside(cell.nodes, config.sweep.servers_of(cell), hosts, config.sweep.parallel)
        for cell in config.sweep.cells
    )
    return Plan(
        sweep_id,
        specs,
        hosts,
        PLACEMENT_RULE,
        estimated_s,
        data_note,
        parallel,
        import_s=model.import_s,
        void_after=config.run.void_after,
    )


def _check_batches(specs: Sequence[TrialSpec]) -> None:
    """Refuse a batch that is larger than what the worker with the fewest examples has."""
    known = [spec for spec in specs if spec.data.train_examples]
    for spec in sorted(known, key=lambda spec: spec.nodes):
        sharded = spec.epoch_definition == "sharded"
        examples = spec.data.train_examples // (spec.workers if sharded else 1)
        if examples < spec.batch_size:
            share = f" ({spec.data.train_examples:,} for {spec.workers})" if sharded else ""
            raise ConfigError(
                f"expected at most {examples:,}, the examples of a worker at {spec.nodes} nodes"
                f"{share}, found {spec.batch_size:,}",
                where="[train] batch_size",
                remedy="use a smaller batch, or fewer nodes" if sharded else "use a smaller batch",
            )


def _shuffled(cells: Sequence[CellKey], seed: int, repeat: int) -> list[CellKey]:
    import random  # not needed to read a stored plan

    shuffled = list(cells)
    random.Random(order_seed(seed, repeat)).shuffle(shuffled)  # noqa: S311 - order, not secrecy
    return sorted(shuffled, key=lambda cell: cell.nodes) if repeat == 1 else shuffled


def _spec(config: Config, data: DataSpec, sweep_id: str, cell: CellKey) -> TrialSpec:
    """Return the first trial of a cell."""
    config = with_variation(config, cell.variation)
    train = config.train
    varied = tuple(name for name, _ in cell.variation)
    if "label_noise" in varied:
        data = msgspec.structs.replace(data, label_noise=train.label_noise)
    return TrialSpec(
        id=cell.trial_id(1),
        sweep=sweep_id,
        nodes=cell.nodes,
        parameter_servers=config.sweep.servers_of(cell),
        repeat=1,
        seed=repeat_seed(config.sweep.seed, 1),
        varied=varied,
        data=data,
        model=ModelSpec(
            train.model, l2=train.l2, dropout=train.dropout, digest=model_digest(train.model)
        ),
        protocol=_protocol(config, cell.protocol),
        batch_size=train.batch_size,
        epochs=train.epochs,
        epoch_definition=train.epoch,
        warmup_steps=train.warmup_steps,
        warm_start_epochs=train.warm_start_epochs,
        steps_per_run=train.steps_per_run,
        device=train.device,
        pace_ms=train.pace_ms,
        epoch_steps=train.epoch_steps,
    )


def _protocol(config: Config, name: ProtocolName) -> ProtocolSpec:
    """Return the protocol with ``[train]`` as far as it concerns it, and the options it takes."""
    protocol = find_protocol(name)
    known = config.protocol.__struct_fields__
    fixed = {field: value for field, value in protocol.fixed.items() if field in known}
    chosen = msgspec.structs.replace(config.protocol, **fixed)
    given = msgspec.structs.asdict(chosen) | {"lambda0": chosen.chosen_lambda0}
    options = {option.name: given[option.name] for option in protocol.options}
    train = msgspec.structs.asdict(config.train)
    shared = {field: train[field] for field in ProtocolSpec.__struct_fields__ if field in train}
    return ProtocolSpec(name, **(shared | options | protocol.fixed))
