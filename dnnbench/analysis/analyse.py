"""Turn the outcomes of a sweep into the figures of a report.

Trials that lost roles, diverged, failed, were interrupted or never ran are counted and listed,
but never averaged. Trials with different data or settings are refused, not mixed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.cell import Cell, make_cell, per_worker_throughput
from dnnbench.analysis.common_settings import Settings, setting_warnings, settings_of
from dnnbench.analysis.comparability import differences, shared_hosts
from dnnbench.analysis.comparisons import Growth, Overhead, growth, overhead
from dnnbench.analysis.crowding import (
    HostFacts,
    Placement,
    on_own_hosts,
    placements,
    roles_per_core,
)
from dnnbench.analysis.disturbance import (
    StartLoad,
    load_warnings,
    spread_warnings,
    use_warnings,
)
from dnnbench.analysis.excluded import NotCounted, attempts, not_counted
from dnnbench.analysis.published import published_epoch_s
from dnnbench.analysis.ranking import Ranking, rank
from dnnbench.analysis.rehearsal import Rehearsal
from dnnbench.analysis.trial_figures import TrialFigures, counted_trials
from dnnbench.trial.protocols import PROTOCOLS, find_protocol, parameter_servers_of
from dnnbench.trial.spec import CellKey, ProtocolName, grid
from dnnbench.trial.variation import Value, sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dnnbench.trial.outcome import Status, TrialOutcome


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about a sweep that a report needs and no single trial knows.

    Attributes:
        host_cores: cores of all hosts together.
        hosts: those that trials ran on, in the inventory's order.
        planned_nodes: node counts of the sweep; cells that never ran are shown as missing.
        planned_repeats: trials planned for each cell.
        data_note: why this data set was used, if the user did not ask for it.
        start_loads: of the machines before the sweep was started or resumed.
        options: of ``dnnbench run``, as typed for this sweep -> value, "" for a flag.
        path: of the sweep's directory.
        parallel: trials that ran side by side, on hosts of their own.
        versions: ``python``, ``tensorflow``, ``dnnbench`` and so on -> version.
        variables: environment variables of the roles that may change what is measured.
        void_after: failed repeats that make a cell void; 0 for none.
    """

    profile: str
    host_cores: int
    cpu_model: str
    planned_nodes: list[int]
    planned_protocols: list[ProtocolName]
    planned_repeats: int
    data_note: str | None = None
    versions: dict[str, str] = {}
    hosts: dict[str, HostFacts] = {}
    parallel: int = 1
    start_loads: list[StartLoad] = []
    options: dict[str, str] = {}
    path: str = ""
    variables: dict[str, str] = {}
    void_after: int = 0


class Analysis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All figures of a report; one cell per protocol and node count, sorted by nodes.

    Attributes:
        placements: which task ran on which host; empty if there was only one host.
        unlike_report: reasons why published figures do not stand beside measured ones; empty if
            they all do, or if the report has none for these cells.
        is_disturbed: whether others used the machines; the first warnings say how much.
        varied: setting -> its values, of those that the sweep varies.
        ranking: of the settings; None if none varies, or if no trial has an accuracy.
        rehearsal: the paced rehearsal, where there is one.
        attempts: trial -> how often it was begun, of those begun more than once.
    """

    context: Context
    settings: Settings
    cells: list[Cell]
    growth: list[Growth]
    overhead: list[Overhead]
    not_counted: list[NotCounted]
    warnings: list[str]
    placements: list[Placement] = []
    unlike_report: list[str] = []
    is_disturbed: bool = False
    varied: dict[str, list[Value]] = {}
    ranking: Ranking | None = None
    rehearsal: Rehearsal | None = None
    attempts: dict[str, int] = {}

    @property
    def nodes(self) -> list[int]:
        """Node counts, ascending."""
        return sorted({cell.nodes for cell in self.cells})

    @property
    def protocols(self) -> list[ProtocolName]:
        """Protocols in the order of a table's columns."""
        present = {cell.protocol for cell in self.cells}
        return [protocol for protocol in PROTOCOLS if protocol in present]

    @property
    def smallest_nodes(self) -> int:
        """The smallest node count at which protocols can be compared, if there is one."""
        free = [c.nodes for c in self.cells if not find_protocol(c.protocol).fixed_nodes]
        return min(free, default=self.nodes[0])

    def find_cell(self, key: CellKey) -> Cell | None:
        """Return a cell; None if the sweep has none, as at another node count than a fixed one."""
        return next((cell for cell in self.cells if cell.key == key), None)

    def cell(self, key: CellKey) -> Cell:
        """Return a cell; KeyError if there is none."""
        cell = self.find_cell(key)
        if cell is None:
            raise KeyError(key)
        return cell


def analyse(
    outcomes: Sequence[TrialOutcome],
    context: Context,
    *,
    planned: Iterable[CellKey] | None = None,
    target_accuracy: float | None = None,
    earlier: Sequence[TrialOutcome] = (),
) -> Analysis:
    """Turn the outcomes of one sweep into the figures of a report.

    Args:
        outcomes: the last one of every trial.
        context: what they do not tell.
        planned: cells of the sweep; the product of node counts and protocols if None.
        target_accuracy: for the ranking of settings, 0 to 1; see there if None.
        earlier: of attempts that were repeated; they are listed.

    Raises:
        ResultsError: no outcomes, different data or settings among them, two successful outcomes of
            one trial, or one without a measurement.
    """
    settings = settings_of(outcomes)
    trials = counted_trials(outcomes)
    lost: dict[CellKey, dict[int, Status]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.status != "ok":
            lost[outcome.order.cell][outcome.order.repeat] = outcome.status
    seen = trials.keys() | lost.keys()
    if planned is None:
        planned = grid(context.planned_nodes, context.planned_protocols)
    keys = sorted({*planned, *seen})
    varied = _varied(keys)
    placed = placements(outcomes) if len(context.hosts) > 1 else []
    times = {key: {i: t.epoch_s for i, t in trials[key].items()} for key in keys}
    accuracies = {
        key: {i: t.accuracy[None][1] for i, t in trials[key].items() if None in t.accuracy}
        for key in keys
    }
    own_hosts = _own_hosts(outcomes, context)
    unlike = [*differences(settings), *(f"{name.replace('_', ' ')} varies" for name in varied)]

    def published_s(key: CellKey) -> float | None:
        return None if unlike or not own_hosts.get(key.nodes) else published_epoch_s(key)

    cells = _cells(
        keys,
        trials,
        lost,
        settings,
        context,
        crowding=_crowding(placed, context),
        own_hosts=own_hosts,
        published_s=published_s,
    )
    disturbed = [
        *load_warnings(context.start_loads),
        *use_warnings(outcomes, context.hosts),
    ]
    return Analysis(
        context=context,
        settings=settings,
        cells=cells,
        growth=growth(times, published_s),
        overhead=overhead(times, accuracies, published_s),
        not_counted=[not_counted(o, trials) for o in [*earlier, *outcomes] if o.status != "ok"],
        is_disturbed=bool(disturbed),
        warnings=[
            *disturbed,
            *(
                f"the environment of the roles had {name}={value}, which may change the figures"
                for name, value in context.variables.items()
            ),
            *_void_warnings(cells),
            *spread_warnings(cells),
            *setting_warnings(settings, varied),
        ]
        + [w for key in keys for _, t in sorted(trials[key].items()) for w in t.warnings],
        placements=placed,
        unlike_report=[*unlike, *shared_hosts(own_hosts)]
        if any(published_epoch_s(key) for key in keys)
        else [],
        varied=varied,
        ranking=rank(outcomes, target_accuracy) if varied else None,
        attempts=attempts(earlier, outcomes),
    )


def _void_warnings(cells: Iterable[Cell]) -> list[str]:
    """Warn of void cells, which are in no comparison."""
    return [
        f"{cell.key} is void, as {cell.void}: it has no averages, and nothing is compared with it"
        for cell in cells
        if cell.void
    ]


def _varied(keys: Iterable[CellKey]) -> dict[str, list[Value]]:
    """Return the settings that vary, with the values of each in ascending order."""
    found: dict[str, dict[Value, None]] = {}
    for key in keys:
        for name, value in key.variation:
            found.setdefault(name, {})[value] = None
    return {name: sorted(values, key=sort_key) for name, values in found.items()}


def _cells(
    keys: Sequence[CellKey],
    trials: Mapping[CellKey, Mapping[int, TrialFigures]],
    lost: Mapping[CellKey, Mapping[int, Status]],
    settings: Settings,
    context: Context,
    *,
    crowding: Mapping[int, float],
    own_hosts: Mapping[int, bool],
    published_s: Callable[[CellKey], float | None],
) -> list[Cell]:
    alone = [key for key in keys if find_protocol(key.protocol).fixed_nodes == 1]
    cells = []
    for key in keys:
        servers = parameter_servers_of(key.protocol, settings.parameter_servers)
        counts = [other.nodes for other in keys if other.with_nodes(0) == key.with_nodes(0)]
        one_process = next(
            (k for k in alone if k == key.with_protocol(k.protocol).with_nodes(1)), None
        )
        base = None
        if len(counts) > 1:
            smallest_trials = trials.get(key.with_nodes(min(counts)), {})
            base = per_worker_throughput(smallest_trials, min(counts) - servers)
        good = trials[key]
        cell = make_cell(
            key,
            good,
            lost=[s for repeat, s in lost.get(key, {}).items() if repeat not in good],
            planned=context.planned_repeats,
            void_after=context.void_after,
            workers=key.nodes - servers,
            roles_per_core=crowding.get(key.nodes, key.nodes / context.host_cores),
            own_hosts=own_hosts.get(key.nodes, False),
            published_s=published_s(key),
            base_throughput=base,
            one_process={} if one_process in (key, None) else trials.get(one_process, {}),
        )
        cells.append(cell)
    return cells


def _crowding(placed: Sequence[Placement], context: Context) -> dict[int, float]:
    """Return nodes -> roles per core on the fullest host of any trial with that node count."""
    crowding: dict[int, float] = {}
    for placement in placed:
        here = roles_per_core(placement.tasks, context.hosts)
        crowding[placement.nodes] = max(crowding.get(placement.nodes, 0.0), here)
    return crowding


def _own_hosts(outcomes: Sequence[TrialOutcome], context: Context) -> dict[int, bool]:
    """Return nodes -> whether every role of every successful trial had a machine to itself."""
    own: dict[int, bool] = {}
    for outcome in outcomes:
        if outcome.status == "ok":
            here = on_own_hosts(outcome.placement, context.hosts)
            own[outcome.order.nodes] = here and own.get(outcome.order.nodes, True)
    return own
