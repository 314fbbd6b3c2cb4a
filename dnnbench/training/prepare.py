"""Data and graphs that the roles of a trial share, made once by the agent before it forks them.

The data are NumPy arrays and the graph is a serialized GraphDef, so a fork hands both to every role
without a copy. Work that uses TensorFlow's runtime, such as building a Keras model, happens in a
child process that only sends its result.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dnnbench.data.load import load
from dnnbench.errors import DnnbenchError, HostError
from dnnbench.training.graph.setting import StepGraph, StepSetting
from dnnbench.training.graph.shard import initial_shards
from dnnbench.training.graph.step import build_step_graph
from dnnbench.training.models.registry import build_model, refusal
from dnnbench.training.roles.process import die_with_parent
from dnnbench.trial.updates import check_updates

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from dnnbench.data.load import DataSet
    from dnnbench.training.graph.step import Vector
    from dnnbench.trial.spec import DataSpec, TrialSpec

BUILD_TIMEOUT_S = 120.0


class PreparedTrial(NamedTuple):
    """What a role finds in memory when it starts."""

    spec: TrialSpec
    data: DataSet
    step: StepGraph
    initial_shards: list[Vector]


class Preparer:
    """Prepares trials and remembers what the next ones can use again."""

    def __init__(self) -> None:
        self._data: tuple[DataSpec, DataSet] | None = None
        self._graphs: dict[bytes, StepGraph] = {}
        self._initial: dict[tuple[bytes, int, int], list[Vector]] = {}

    def prepare(self, spec: TrialSpec, *, own_core: bool) -> PreparedTrial:
        """Return what the roles of this trial need, each of them on its own core or not.

        Raises:
            DnnbenchError: no such model, the data are not here or not as expected, or more updates
                than can be counted.
        """
        if self._data is None or self._data[0] != spec.data:
            self._data = (spec.data, load(spec.data))
        data = self._data[1]
        check_updates(spec, len(data.train_labels))
        setting = StepSetting.of(spec, data.examples, own_core=own_core)
        graph_key = msgspec.json.encode(setting)
        initial_key = (
            msgspec.json.encode((spec.model, data.examples)),
            spec.seed,
            setting.shards,
        )
        if graph_key not in self._graphs or initial_key not in self._initial:
            step, self._initial[initial_key] = _build_in_child(
                spec, setting, need_graph=graph_key not in self._graphs
            )
            if step:
                self._graphs[graph_key] = step
        return PreparedTrial(spec, data, self._graphs[graph_key], self._initial[initial_key])


def _build_in_child(
    spec: TrialSpec, setting: StepSetting, *, need_graph: bool
) -> tuple[StepGraph | None, list[Vector]]:
    """Build initial parameters, and the graph if it is needed, in a child process.

    Raises:
        DnnbenchError: as the child raised it.
        HostError: the child died or took longer than ``BUILD_TIMEOUT_S``.
    """
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=_build, args=(sender, spec, setting, need_graph), daemon=True)
    child.start()
    sender.close()
    try:
        if not receiver.poll(BUILD_TIMEOUT_S):
            raise HostError(
                f"expected the graph of model {spec.model.name} within {BUILD_TIMEOUT_S:.0f} s",
                where=spec.id,
            )
        built: Any = receiver.recv()
    except EOFError:
        raise HostError(
            f"the process that builds model {spec.model.name} ended without a result",
            where=spec.id,
            remedy="see the agent's log",
        ) from None
    finally:
        child.kill()
        child.join()
    if isinstance(built, DnnbenchError):
        raise built
    step, initial = built
    return step, initial


def _build(sender: Connection, spec: TrialSpec, setting: StepSetting, need_graph: bool) -> None:
    die_with_parent(os.getppid())
    os.dup2(2, 1)  # a user's model may print, and standard output is the agent's line of events
    try:
        model = build_model(spec.model, spec.seed, setting.examples)
        step = build_step_graph(setting, model) if need_graph else None
        sender.send((step, initial_shards(model, setting.shards)))
    except DnnbenchError as error:
        sender.send(error)
    except Exception as error:  # noqa: BLE001 - a user's model may raise anything
        sender.send(refusal(spec.model.name, error))
