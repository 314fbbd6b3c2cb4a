"""Settings and hosts in, the ordered trials of a sweep out; a dry run prints this very value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.environment import usable_cores
from dnnbench.inventory import PLACEMENT_RULE, Host, local_inventory, place
from dnnbench.seeds import order_seed, repeat_seed
from dnnbench.trial import DataOrder, ModelOrder, Protocol, ProtocolOrder, TrialOrder
from dnnbench.usermodel import model_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.config import Config


class TimeModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a trial takes: start-up, then workers that share cores.

    A step needs CPU seconds, of the worker and for it on the parameter server; with few workers the
    round trip is what it waits for, with many the cores. Defaults were measured with the
    784-64-64-10 network on two cores.

    Attributes:
        start_up_s: of a trial whatever its size; evaluation and tear-down included.
        start_up_cpu_s: of every task.
        step_latency_s: of a step that waits for nothing but its messages.
        step_cpu_s: of a step, without its examples.
        example_cpu_s: of each example in a step.
        compensation: a dc-sgd step in downpour steps.
        training_examples: in the data set.
    """

    start_up_s: float = 0.5
    start_up_cpu_s: float = 0.8
    step_latency_s: float = 2.0e-3
    step_cpu_s: float = 2.4e-3
    example_cpu_s: float = 5.0e-6
    compensation: float = 1.15
    training_examples: int = 55_000

    def trial_s(self, order: TrialOrder, cores: float) -> float:
        """Estimate a trial's seconds on one machine with that many cores."""
        share = 1 if order.epoch_definition == "replicated" else order.workers
        steps = order.epochs * (self.training_examples // share // order.batch_size)
        cpu_s = self.step_cpu_s + self.example_cpu_s * order.batch_size
        step_s = max(self.step_latency_s, order.workers * cpu_s / cores)
        if order.protocol.name == "dc-sgd":
            step_s *= self.compensation
        start_up_s = self.start_up_s + self.start_up_cpu_s * order.nodes / cores
        return start_up_s + (order.warmup_steps + steps) * step_s


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sweep before it runs.

    Attributes:
        orders: in the order they run in.
        estimated_s: trial id -> seconds.
        data_note: why the data set stands in for another; None where it does not.
    """

    sweep: str
    orders: list[TrialOrder]
    hosts: list[Host]
    placement_rule: str
    estimated_s: dict[str, float]
    data_note: str | None = None

    def placement(self, order: TrialOrder) -> dict[str, str]:
        """Say on which host each task of a trial runs."""
        return place(order.nodes, order.parameter_servers, self.hosts)


def make_plan(
    config: Config,
    data: DataOrder,
    sweep_id: str,
    *,
    hosts: Sequence[Host] | None = None,
    cores: float | None = None,
    measured_s: Mapping[tuple[int, Protocol], float] | None = None,
    time_model: TimeModel | None = None,
    data_note: str | None = None,
) -> Plan:
    """Order every trial of a sweep.

    Each repeat is a block that holds every cell once, shuffled by a seed of its own: a machine that
    warms up or gets busy then hits all cells alike, and a sweep cut short has even cells.

    Args:
        config: as resolved.
        data: the data set that was found.
        sweep_id: see `dnnbench.store.new_sweep_id`.
        hosts: this machine if None.
        cores: of this machine, if None.
        measured_s: (nodes, protocol) -> seconds of such a trial in an earlier sweep of the same
            settings; takes the place of the estimate.
        time_model: for the estimate.
        data_note: see `dnnbench.data.locate.Located`.

    Raises:
        ConfigError: the hosts have too few slots for the largest trial.
    """
    hosts = local_inventory() if hosts is None else list(hosts)
    cores = usable_cores() if cores is None else cores
    place(max(config.sweep.nodes), config.sweep.parameter_servers, hosts)
    orders = [
        _order(config, data, sweep_id, cell=cell, repeat=repeat)
        for repeat in range(1, config.sweep.repeats + 1)
        for cell in _shuffled_cells(config, repeat)
    ]
    model = time_model or TimeModel()
    known = measured_s or {}
    estimated_s = {
        order.id: known.get((order.nodes, order.protocol.name)) or model.trial_s(order, cores)
        for order in orders
    }
    return Plan(sweep_id, orders, hosts, PLACEMENT_RULE, estimated_s, data_note)


def trial_id(nodes: int, protocol: Protocol, repeat: int) -> str:
    """Name a trial so that names sort by setting: ``n04-dc-sgd-r01``."""
    return f"n{nodes:02d}-{protocol}-r{repeat:02d}"


def _shuffled_cells(config: Config, repeat: int) -> list[tuple[int, Protocol]]:
    import random  # a stored plan is read without

    cells = [(nodes, name) for nodes in config.sweep.nodes for name in config.sweep.protocols]
    random.Random(order_seed(config.sweep.seed, repeat)).shuffle(cells)  # noqa: S311 - order, not secrecy
    return cells


def _order(
    config: Config, data: DataOrder, sweep_id: str, *, cell: tuple[int, Protocol], repeat: int
) -> TrialOrder:
    nodes, protocol = cell
    train, correction = config.train, config.protocol
    return TrialOrder(
        id=trial_id(nodes, protocol, repeat),
        sweep=sweep_id,
        nodes=nodes,
        parameter_servers=config.sweep.parameter_servers,
        repeat=repeat,
        seed=repeat_seed(config.sweep.seed, repeat),
        data=data,
        model=ModelOrder(
            train.model, l2=train.l2, dropout=train.dropout, digest=model_digest(train.model)
        ),
        protocol=ProtocolOrder(
            protocol,
            optimizer=train.optimizer,
            learning_rate=train.learning_rate,
            compensation=correction.compensation,
            lambda0=correction.chosen_lambda0,
            mean_square_decay=correction.mean_square_decay,
            epsilon=correction.epsilon,
        ),
        batch_size=train.batch_size,
        epochs=train.epochs,
        epoch_definition=train.epoch,
        warmup_steps=train.warmup_steps,
        steps_per_run=train.steps_per_run,
    )
