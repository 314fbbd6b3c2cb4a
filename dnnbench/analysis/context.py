"""Load a stored sweep and work out its figures, with what no trial knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.analysis.analyse import Analysis, Context, analyse
from dnnbench.analysis.crowding import host_facts, total_cores
from dnnbench.settings.schema import PROFILES
from dnnbench.sweep.placement import local_inventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dnnbench.settings.schema import Config
    from dnnbench.sweep.store import Session, SweepStore
    from dnnbench.trial.machine import MachineSnapshot
    from dnnbench.trial.outcome import TrialOutcome


def load_analysis(store: SweepStore) -> tuple[Analysis, list[str]]:
    """Work out the figures of a sweep.

    Returns:
        The analysis, and notes on what is stored that its reader has to know.

    Raises:
        ResultsError: no trial has ended, or what is stored is damaged.
    """
    outcomes = store.outcomes()
    sessions = store.sessions()
    analysis = analyse(outcomes, _context(store, sessions, outcomes))
    return analysis, [*store.notes, *_changes(sessions)]


def _context(
    store: SweepStore, sessions: Sequence[Session], outcomes: Sequence[TrialOutcome]
) -> Context:
    config = store.resolved.config
    used = {host for outcome in outcomes for host in outcome.placement.values()}
    said = {host: facts for session in sessions for host, facts in session.hosts.items()}
    hosts = {
        host.name: said[host.name] for host in store.plan.hosts if host.name in used & said.keys()
    }
    machine, *others = hosts.values() or [sessions[-1].before]
    facts = host_facts(hosts)
    return Context(
        profile=profile_text(config),
        host_cores=max(1, int(total_cores(facts) if facts else machine.cores_usable)),
        cpu_model=machine.cpu_model,
        planned_nodes=list(config.sweep.nodes),
        planned_protocols=list(config.sweep.protocols),
        planned_repeats=config.sweep.repeats,
        data_note=store.plan.data_note,
        versions=_versions([machine, *others]),
        hosts=facts,
    )


def _versions(machines: Iterable[MachineSnapshot]) -> dict[str, str]:
    """Return what ran; several versions of one thing where the machines differ."""
    found: dict[str, dict[str, None]] = {}
    for machine in machines:
        for name, version in {"python": machine.python, **machine.versions}.items():
            if version:
                found.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in found.items()}


def profile_text(config: Config) -> str:
    """Name the profile, and what of it was changed."""
    actual = {"sweep.repeats": config.sweep.repeats, "train.epochs": config.train.epochs}
    profile = PROFILES[config.sweep.profile]
    changed = [
        f"{key.partition('.')[2]} {value}" for key, value in actual.items() if profile[key] != value
    ]
    text: str = config.sweep.profile
    return f"{text} with {', '.join(changed)}" if changed else text


def _changes(sessions: Sequence[Session]) -> list[str]:
    """Say if a sweep was resumed on something else than it was started on."""
    known: dict[str, object] = {}
    for session in sessions:
        # Older sweeps, and a session that ended early, have no hosts; they ran here.
        for host, m in (session.hosts or {local_inventory()[0].name: session.before}).items():
            ran_on = m.cpu_model, m.cores_usable, m.versions, m.git_commit
            if known.setdefault(host, ran_on) != ran_on:
                what = "the sweep was resumed on another machine or with other versions"
                return [f"{what}; see environment.json"]
    return []
