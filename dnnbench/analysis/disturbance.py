"""Signs that something else than the trials used the machines, or that repeats differ too much."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.text.words import count_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.crowding import HostFacts
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.usage import HostUse

OTHERS_SHARE: Final = 0.1
"""Share of a machine's CPU time from which other processes disturb a trial."""
STEAL_SHARE: Final = 0.02
"""Share that a hypervisor may withhold."""
CLOCK_CHANGE: Final = 0.1
"""Change of the clock between trials, as a share of the highest."""
LOAD_PER_CORE: Final = 0.5
"""Load of a core before a sweep from which it disturbs."""
REPEATS_APART: Final = 0.25
"""Excess of the slowest repeat over the fastest."""


class StartLoad(NamedTuple):
    """Load average of a machine over the minute before a sweep started or was resumed."""

    host: str
    load: float
    cores: int


def load_warnings(loads: Iterable[StartLoad]) -> Iterator[str]:
    """Yield a warning for each machine that was busy before the sweep."""
    for host, load, cores in loads:
        if load > LOAD_PER_CORE * cores:
            yield f"{host} was busy before the sweep: load {load:.1f} on {cores} cores"


def use_warnings(outcomes: Iterable[TrialOutcome], hosts: Mapping[str, HostFacts]) -> Iterator[str]:
    """Yield a line for each way in which machines were disturbed during successful trials."""
    others: list[tuple[float, str]] = []
    stolen: list[tuple[float, str]] = []
    clocks: defaultdict[str, list[float]] = defaultdict(list)
    trials = 0
    for outcome in outcomes:
        if outcome.status != "ok" or not outcome.use:
            continue
        trials += 1
        for machine, uses in _by_machine(outcome.use, hosts).items():
            most = max(uses, key=lambda use: use.duration_s)
            cpu_s = most.duration_s * most.cores
            roles_s = sum(use.roles_s for use in uses)
            others.append(((most.busy_s - roles_s) / cpu_s, outcome.order.id))
            stolen.append((most.steal_s / cpu_s, outcome.order.id))
            clocks[machine] += [mhz for use in uses for mhz in use.clock_mhz or ()]
    yield from _share_warning("other processes used", others, OTHERS_SHARE, trials)
    yield from _share_warning("the hypervisor withheld", stolen, STEAL_SHARE, trials)
    for machine, found in clocks.items():
        if found and min(found) < (1.0 - CLOCK_CHANGE) * max(found):
            slow, fast = min(found) / 1000.0, max(found) / 1000.0
            yield f"the clock of {machine} changed between {slow:.1f} and {fast:.1f} GHz"


def spread_warnings(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield one line on cells whose repeats lie far apart."""
    far = [
        (cell.epoch_s.maximum / cell.epoch_s.minimum - 1.0, str(cell.key))
        for cell in cells
        if cell.epoch_s and cell.epoch_s.maximum > (1.0 + REPEATS_APART) * cell.epoch_s.minimum
    ]
    if far:
        most, cell = max(far)
        cells_far = count_text(len(far), "cell")
        yield f"repeats of {cells_far} differ, by up to {100 * most:.0f} % ({cell})"


def _by_machine(
    use: Mapping[str, HostUse], hosts: Mapping[str, HostFacts]
) -> dict[str, list[HostUse]]:
    """Group by machine: hosts that share one each see the use of the whole machine."""
    machines: dict[str, list[HostUse]] = {}
    for host, one in use.items():
        machine = hosts[host].machine if host in hosts else host
        machines.setdefault(machine, []).append(one)
    return machines


def _share_warning(
    what: str, shares: Sequence[tuple[float, str]], limit: float, trials: int
) -> Iterator[str]:
    found = [share for share in shares if share[0] > limit]
    if found:
        most, trial = max(found)
        count = len({name for _, name in found})
        percent = f"more than {100 * limit:.0f} % of a machine's CPU time"
        yield (
            f"{what} {percent} in {count} of {trials} trials, up to {100 * most:.0f} % ({trial})"
        )
