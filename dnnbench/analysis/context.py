"""Analyse a stored sweep, including the facts about it that no single trial knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.analyse import Analysis, Context, analyse
from dnnbench.analysis.crowding import host_facts, total_cores
from dnnbench.analysis.disturbance import StartLoad
from dnnbench.analysis.rehearsal import rehearsal_figures
from dnnbench.errors import ResultsError
from dnnbench.settings.hostlists.sources import HOSTS
from dnnbench.settings.schema import PROFILES, settings
from dnnbench.sweep.placement import local_inventory
from dnnbench.sweep.rehearsal import open_rehearsal
from dnnbench.trial.role_environment import passed_on_as_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dnnbench.analysis.rehearsal import Rehearsal
    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import Config, Resolved
    from dnnbench.sweep.store import Session, SweepStore
    from dnnbench.trial.machine import MachineSnapshot
    from dnnbench.trial.outcome import TrialOutcome


def load_analysis(
    store: SweepStore,
    target_accuracy: float | None = None,
    *,
    outcomes: Sequence[TrialOutcome] | None = None,
) -> tuple[Analysis, list[str]]:
    """Analyse a stored sweep.

    Args:
        store: the sweep.
        target_accuracy: for the ranking of settings, 0 to 1; see there if None.
        outcomes: of the store, if they have been read already.

    Returns:
        The analysis, and notes for its reader on the stored results.

    Raises:
        ResultsError: no trial has ended, or the stored results are damaged.
    """
    outcomes = store.outcomes() if outcomes is None else outcomes
    if not outcomes and store.notes:
        raise ResultsError(f"no trial has ended: {store.notes[0]}", remedy="resume the sweep")
    sessions = store.sessions()
    planned = [order.cell for order in store.plan.orders]
    analysis = analyse(
        outcomes,
        _context(store, sessions, outcomes),
        planned=planned,
        target_accuracy=target_accuracy,
        earlier=store.earlier,
    )
    rehearsal, notes = _rehearsal(store)
    analysis = msgspec.structs.replace(analysis, rehearsal=rehearsal)
    return analysis, [*store.notes, *_changes(sessions), *notes]


def _rehearsal(store: SweepStore) -> tuple[Rehearsal | None, list[str]]:
    """Return the figures of a sweep's paced rehearsal, if it has any, and notes on it."""
    found = open_rehearsal(store)
    if found is None or not found.has_outcomes():
        return None, []
    outcomes = found.outcomes()
    context = _context(found, found.sessions(), outcomes)
    analysis = analyse(outcomes, context, earlier=found.earlier)
    return rehearsal_figures(analysis, outcomes), found.notes


def _context(
    store: SweepStore, sessions: Sequence[Session], outcomes: Sequence[TrialOutcome]
) -> Context:
    config = store.resolved.config
    used = {host for outcome in outcomes for host in outcome.placement.values()}
    said = {host: facts for session in sessions for host, facts in session.hosts.items()}
    hosts = {
        host.name: said[host.name] for host in store.plan.hosts if host.name in used & said.keys()
    }
    machines = list(hosts.values()) or [session.before for session in sessions[-1:]]
    facts = host_facts(hosts)
    return Context(
        profile=profile_text(config),
        host_cores=max(1, int(total_cores(facts) if facts else _cores(machines, outcomes))),
        cpu_model=machines[0].cpu_model if machines else "unknown machine",
        planned_nodes=list(config.sweep.nodes),
        planned_protocols=list(config.sweep.protocols),
        planned_repeats=config.sweep.repeats,
        data_note=store.plan.data_note,
        versions=_versions(machines),
        variables={**passed_on_as_stored(config.cluster.environment), **_variables(machines)},
        hosts=facts,
        start_loads=[
            StartLoad(host, said.load_average[0], said.cores)
            for session in sessions
            for host, said in _before(session, is_local=not config.hosts).items()
        ],
        options=_typed_options(store.resolved),
        path=str(store.path),
        parallel=store.plan.parallel,
        void_after=store.plan.void_after,
    )


def _cores(machines: Sequence[MachineSnapshot], outcomes: Sequence[TrialOutcome]) -> float:
    """Return the cores of this machine; if they are not recorded, those that its trials saw.

    Older trials saw none: they count as if on one core, so that no figure passes for that of roles
    with cores of their own.
    """
    if machines:
        return machines[0].cores_usable
    return min((use.cores for outcome in outcomes for use in outcome.use.values()), default=1)


def _before(session: Session, *, is_local: bool) -> dict[str, MachineSnapshot]:
    """Return the machines of a session before its trials.

    On this machine, that is before the agent imported TensorFlow.
    """
    return {local_inventory()[0].name: session.before} if is_local else session.hosts


def _typed_options(resolved: Resolved) -> dict[str, str]:
    """Return the options that the sweep was started with: option -> value."""
    typed = {}
    for field in settings().values():
        value = getattr(getattr(resolved.config, field.table), field.name)
        if resolved.origins.get(field.key) != field.option or field.setting.is_secret:
            continue
        if isinstance(value, bool):
            typed[field.flags[not value]] = ""
        elif isinstance(value, tuple):
            typed[field.option] = ",".join(map(str, value))
        else:
            typed[field.option] = f"{value:g}" if isinstance(value, float) else str(value)
    if resolved.origins.get("hosts") == HOSTS:
        typed[HOSTS] = ",".join(map(_typed_host, resolved.config.hosts))
    return typed


def _typed_host(host: HostConfig) -> str:
    user = f"{host.user}@" if host.user else ""
    port = f":{host.port}" if host.port else ""
    return f"{user}{host.name}{port}"


def _versions(machines: Iterable[MachineSnapshot]) -> dict[str, str]:
    """Return the versions of the software; several of one name if the machines differ."""
    found: dict[str, dict[str, None]] = {}
    for machine in machines:
        for name, version in {"python": machine.python, **machine.versions}.items():
            if version:
                found.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in found.items()}


def _variables(machines: Iterable[MachineSnapshot]) -> dict[str, str]:
    """Return the environment variables of the roles that may change what is measured."""
    found: dict[str, dict[str, None]] = {}
    for machine in machines:
        for name, value in machine.variables.items():
            found.setdefault(name, {})[value] = None
    return {name: " and ".join(values) for name, values in found.items()}


def profile_text(config: Config) -> str:
    """Name the profile and the settings that were changed from it."""
    changed = []
    for key, planned in PROFILES[config.sweep.profile].items():
        field = settings()[key]
        value = config.varied.get(key, getattr(getattr(config, field.table), field.name))
        if value != planned:
            words = field.name.replace("_", " ")
            if isinstance(value, bool):
                changed.append(words if value else f"no {words}")
            else:
                changed.append(f"{words} {field.as_text(value)}")
    text: str = config.sweep.profile
    return f"{text} with {', '.join(changed)}" if changed else text


def _changes(sessions: Sequence[Session]) -> list[str]:
    """Return a note if a sweep was resumed on another machine or with other versions."""
    known: dict[str, object] = {}
    for session in sessions:
        # Older sweeps and sessions that ended early list no hosts: they ran on this machine.
        for host, m in (session.hosts or {local_inventory()[0].name: session.before}).items():
            ran_on = m.cpu_model, m.cores_usable, m.versions, m.git_commit, m.variables
            if known.setdefault(host, ran_on) != ran_on:
                what = "the sweep was resumed on another machine or with other versions"
                return [f"{what}; see environment.json"]
    return []
