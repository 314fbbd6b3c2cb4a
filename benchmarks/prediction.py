"""Steps as `dnnbench predict` predicts them, against measured ones.

Paced: on this machine, workers wait without using a core, so that the cores suffice, and all queue
for one parameter server. Hosts: network namespaces with shaped links and a share of a core for the
parameter server, so that a link or the server saturates long before this machine's cores do.

Each part measures one worker, without shaping, and predicts all else from it. Needs root for the
hosts. Takes about six minutes on two quiet cores.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from benchmarks.harness import Options, Result, main, note
from benchmarks.processes import BenchmarkError, environment, python
from benchmarks.testbed import namespaces
from benchmarks.testbed.farm import Farm
from dnnbench.analysis.context import load_analysis
from dnnbench.analysis.inputs import (
    DEFAULT_PARAMETER_S,
    Figure,
    Given,
    read_inputs,
)
from dnnbench.analysis.prediction import Hosts, predict
from dnnbench.kernel import usable_cores
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.testbed.namespaces import Network
    from dnnbench.analysis.inputs import Inputs
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.outcome import TrialOutcome

NAME = "Prediction"
PACES_MS: Final = (20, 40, 80)
PACED_NODES: Final = (2, 4, 8, 12)
HOST_NODES: Final = (2, 3, 4, 6)
STEPS: Final = 60
BANDWIDTHS_BIT_PER_S: Final = (50e6, 100e6, 200e6)
SHARES: Final = (0.1, 0.2)
QUOTA_US: Final = 1_000
"""CPU time per period that makes up a share: the least that the kernel takes, for short periods."""
_RUN: Final = (
    *("run", "--protocols", "downpour", "--repeats", "1", "--epochs", "1"),
    *("--epoch-steps", str(STEPS), "--steps-per-run", "10", "--warmup-steps", "10"),
    "--no-rehearsal",
)
_UNLIMITED_BIT_PER_S: Final = 1e15
_TIMEOUT_S: Final = 300.0
_CLOSE: Final = 0.1


class Case(NamedTuple):
    """A step of one setting at one node count.

    Attributes:
        busy: share of all cores of the machine that the roles used.
    """

    setting: str
    nodes: int
    measured_s: float
    predicted_s: float
    shortest_s: float
    longest_s: float
    cpu: float
    link: float
    busy: float

    @property
    def error(self) -> float:
        """The prediction's, relative to the measurement."""
        return self.predicted_s / self.measured_s - 1.0

    def cells(self) -> dict[str, Any]:
        """Return a row of the table."""
        return {
            "setting": self.setting,
            "nodes": self.nodes,
            "measured ms": 1e3 * self.measured_s,
            "predicted ms": 1e3 * self.predicted_s,
            "from ms": 1e3 * self.shortest_s,
            "to ms": 1e3 * self.longest_s,
            "error %": f"{100 * self.error:+.1f}",
            "server's CPU %": round(100 * self.cpu),
            "server's link %": round(100 * self.link),
            "machine's cores %": round(100 * self.busy),
        }


def measure(options: Options) -> Result:
    """Measure and predict both parts."""
    result = Result(NAME, [])
    data = (
        ("--data-dir", str(options.data_dir))
        if options.data_dir
        else ("--dataset", "synthetic-mnist")
    )
    cases: list[Case] = []
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        parts = {"Paced steps on this machine": _paced, "Hosts in network namespaces": _hosts}
        for title, part in parts.items():
            try:
                found = part(place, data, quick=options.quick)
            except BenchmarkError as error:
                result.skipped.append(f"{title.lower()}: {error}")
                continue
            result.tables[title] = [case.cells() for case in found]
            cases += found
    if cases:
        errors = [abs(case.error) for case in cases]
        result.tables["Absolute errors"] = [
            {
                "predictions": len(errors),
                "median %": 100 * median(errors),
                "largest %": 100 * max(errors),
                "within 10 %": sum(error <= _CLOSE for error in errors),
            }
        ]
    return result


# --- paced, on this machine -----------------------------------------------------------------------


def _paced(place: Path, data: tuple[str, ...], *, quick: bool) -> list[Case]:
    """Predict every pace and node count from one worker at the longest pace."""
    *others, longest = PACES_MS[-1:] if quick else PACES_MS
    nodes = PACED_NODES[:2] if quick else PACED_NODES
    stores = {
        pace: _sweep(place / f"pace{pace}", *data, "--pace", str(pace), "--nodes", _listed(nodes))
        for pace in (longest, *others)
    }
    alone = Alone.of(stores[longest])
    cases = []
    for pace, store in stores.items():
        # Beside the pace, a worker handles messages and wakes up late.
        own_s = alone.own_s + (pace - longest) / 1e3
        cases += [
            compared(f"pace {pace} ms", outcome, alone.inputs(own_s, alone.server_s))
            for outcome in store.outcomes()
            if outcome.order.nodes > nodes[0] or pace != longest
        ]
    return cases


def _sweep(directory: Path, *arguments: str) -> SweepStore:
    """Run a sweep on this machine."""
    directory.mkdir()
    try:
        done = subprocess.run(
            python("-m", "dnnbench", *_RUN, *arguments),
            cwd=directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"no end of a sweep within {_TIMEOUT_S:g} s") from None
    if done.returncode:
        raise BenchmarkError(done.stderr.strip().rpartition("\n")[2])
    return open_sweep(directory / "results")


# --- hosts in network namespaces ------------------------------------------------------------------


class _Setting(NamedTuple):
    """Hosts, all alike but for the parameter server's share of a core."""

    name: str
    share: float = 1.0
    bit_per_s: float = _UNLIMITED_BIT_PER_S
    servers: int = 1
    nodes: tuple[int, ...] = HOST_NODES


SETTINGS: Final = (
    *(_Setting(f"{share:g} of a core", share=share) for share in SHARES),
    *(_Setting(f"{rate / 1e6:g} Mbit/s", bit_per_s=rate) for rate in BANDWIDTHS_BIT_PER_S),
    _Setting("200 Mbit/s, 2 servers", bit_per_s=200e6, servers=2, nodes=HOST_NODES[1:]),
)
"""In this order, since shaped links cannot be had without limit again."""


def _hosts(place: Path, data: tuple[str, ...], *, quick: bool) -> list[Case]:
    """Predict every setting and node count from one worker without limits."""
    most = HOST_NODES[1] if quick else HOST_NODES[-1]
    cases = []
    with _network(place / "hosts", most) as (network, farm):
        farm.call("provision", *data)
        farm.call("launch", *data, "--nodes", str(most))

        def sweep(setting: _Setting) -> SweepStore:
            counts = [count for count in setting.nodes if count <= most]
            given = ("--nodes", _listed(counts), "--ps", str(setting.servers))
            seat = farm.seat(setting.name.replace("/", " per "))
            ended = farm.start(*_RUN, *data, *given, directory=seat).result(_TIMEOUT_S)
            if ended.code:
                raise BenchmarkError(f"{setting.name}: {ended.last_line}")
            return open_sweep(seat / "results")

        alone = Alone.of(sweep(_Setting("no limits", nodes=HOST_NODES[:1])))
        server = next(iter(network.nodes))
        for setting in SETTINGS[:: len(SETTINGS) - 1] if quick else SETTINGS:
            if setting.share < 1.0:
                network.limit(server, setting.share, round(QUOTA_US / setting.share))
            else:
                network.limit(server, 2.0)
            if setting.bit_per_s < _UNLIMITED_BIT_PER_S:
                for node in network.nodes:
                    network.shape(node, setting.bit_per_s)
            inputs = alone.inputs(alone.own_s, alone.server_s / setting.share)
            outcomes = sweep(setting).outcomes()
            cases += [compared(setting.name, o, inputs, setting.bit_per_s) for o in outcomes]
    return cases


@contextlib.contextmanager
def _network(directory: Path, count: int) -> Iterator[tuple[Network, Farm]]:
    """Start hosts; enter the namespace of their controller."""
    with contextlib.ExitStack() as stack:
        try:
            network = stack.enter_context(
                namespaces.network(count, directory / "network", cores=2.0)
            )
        except namespaces.NotPossibleError as error:
            raise BenchmarkError(str(error)) from None
        if network.no_quota:
            raise BenchmarkError(network.no_quota)
        stack.enter_context(network.controller.entered())
        farm = Farm(network.hosts, directory, slots=1)
        farm.equip()
        yield network, farm
        farm.call("stop")


# --- both -----------------------------------------------------------------------------------------


class Alone(NamedTuple):
    """One worker and one parameter server, each with a core, on an unlimited network.

    Attributes:
        own_s: the worker's own time per step.
        server_s: CPU time of the parameter server per update.
    """

    measured: Inputs
    own_s: float
    server_s: float

    @classmethod
    def of(cls, store: SweepStore) -> Alone:
        """Return the times of a sweep's trial with the fewest nodes."""
        outcomes = store.outcomes()
        analysis, _ = load_analysis(store, outcomes=outcomes)
        return cls.of_inputs(read_inputs(analysis, outcomes, Given()))

    @classmethod
    def of_inputs(cls, found: Inputs) -> Alone:
        """Return the times in a sweep's inputs.

        Raises:
            BenchmarkError: they are not of one worker with a core of its own.
        """
        (costs,) = found.costs
        if costs.step_s is None or costs.workers != 1:
            raise BenchmarkError("one worker and its parameter server need a core each")
        server_s = costs.server_cpu_s.value
        return cls(found, costs.step_s.value - server_s, server_s)

    def inputs(self, own_s: float, server_s: float) -> Inputs:
        """Return the inputs with these times."""
        costs = msgspec.structs.replace(
            self.measured.costs[0],
            step_s=None,
            worker_cpu_s=Figure(own_s, "computed", NAME),
            server_cpu_s=Figure(server_s, "computed", NAME),
        )
        return msgspec.structs.replace(self.measured, costs=[costs])


def compared(
    setting: str,
    outcome: TrialOutcome,
    inputs: Inputs,
    bit_per_s: float = _UNLIMITED_BIT_PER_S,
) -> Case:
    """Return a measured step beside the predicted one."""
    hosts = Hosts(
        cores=Figure(1, "given", NAME),
        bandwidth_bit_per_s=Figure(bit_per_s, "given", NAME),
        round_trip_s=Figure(0, "given", NAME),
        parameter_s=Figure(DEFAULT_PARAMETER_S, "assumed", NAME),
    )
    order = outcome.order
    (row,) = predict(inputs, hosts, [order.nodes], [order.parameter_servers]).rows
    cpu_s = sum(record.cpu_s for record in outcome.epochs) + outcome.parameter_server_cpu_s
    case = Case(
        setting,
        order.nodes,
        _step_s(outcome),
        row.step_s,
        row.shortest_epoch_s * row.step_s / row.epoch_s,
        row.longest_epoch_s * row.step_s / row.epoch_s,
        row.cpu_utilization,
        row.link_utilization,
        cpu_s / outcome.training_s / usable_cores(),
    )
    note(
        f"{setting}, {case.nodes} nodes: {1e3 * case.measured_s:.1f} ms, {100 * case.error:+.1f} %"
    )
    return case


def _step_s(outcome: TrialOutcome) -> float:
    return sum(r.duration_s for r in outcome.epochs) / sum(r.steps for r in outcome.epochs)


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
