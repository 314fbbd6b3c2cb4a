"""What commands need of a stored sweep: its analysis, and its report as files."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING, Final

from dnnbench.analysis import Analysis, Context, analyse
from dnnbench.config import PROFILES
from dnnbench.documents import write_whole, writing
from dnnbench.environment import usable_cores
from dnnbench.errors import ResultsError
from dnnbench.inventory import local_inventory
from dnnbench.machines import host_facts, total_cores
from dnnbench.store import open_sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dnnbench.config import Config
    from dnnbench.console import Printer
    from dnnbench.environment import Environment, Session
    from dnnbench.store import SweepStore
    from dnnbench.trial import Protocol, TrialOutcome

FIGURE_FORMATS: Final = (".png", ".svg")


def load_analysis(store: SweepStore, printer: Printer) -> Analysis:
    """Work out the figures of a sweep; tell what a reader has to know beside them.

    Raises:
        ResultsError: no trial has ended, or what is stored is damaged.
    """
    outcomes = store.outcomes()
    sessions = store.sessions()
    for note in [*store.notes, *_changes(sessions)]:
        printer.note(f"note: {note}")
    return analyse(outcomes, _context(store, sessions, outcomes))


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


def _versions(machines: Iterable[Environment]) -> dict[str, str]:
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


def measured_trial_s(results_dir: Path, config: Config) -> dict[tuple[int, Protocol], float]:
    """Return the mean seconds of each cell's trials in the newest sweep, if they were alike."""
    durations_s: dict[tuple[int, Protocol], list[float]] = {}
    try:
        previous = open_sweep(results_dir)
        is_alike = _conditions(previous.resolved.config) == _conditions(config)
        same_cores = previous.sessions()[-1].before.cores_usable == usable_cores()
        outcomes = previous.outcomes() if is_alike and same_cores else []
    except ResultsError:  # no estimate is worth stopping a new sweep for an old one's damage
        return {}
    for outcome in outcomes:
        if outcome.status == "ok":
            cell = outcome.order.nodes, outcome.order.protocol.name
            durations_s.setdefault(cell, []).append(outcome.duration_s)
    return {cell: sum(found) / len(found) for cell, found in durations_s.items()}


def _conditions(config: Config) -> tuple[object, ...]:
    """Return the settings that a trial's duration depends on."""
    return config.train, config.protocol, config.sweep.parameter_servers, config.hosts


def write_markdown(
    analysis: Analysis, path: Path, *, nodes: int | None = None, figure: Path | None = None
) -> list[Path]:
    """Write the report as Markdown, with its figure beside it.

    Args:
        analysis: what to write.
        path: of the Markdown.
        nodes: whose epochs the figure shows; the smallest node count if not given.
        figure: where the figure goes; as PNG and SVG under the Markdown's name if not given.

    Returns:
        The files written; the figure is left out where no trial with that many nodes ended well.
    """
    from dnnbench.report import markdown  # not every format needs it

    paths = [path.with_suffix(kind) for kind in FIGURE_FORMATS] if figure is None else [figure]
    if not has_figure(analysis, nodes):
        paths = []
    for target in paths:
        write_figure(analysis, target, nodes)
    text = markdown.render(
        analysis, figure=_relative(paths[0], path) if paths else None, nodes=nodes
    )
    write_whole(path, text.encode())
    return [path, *paths]


def write_figure(analysis: Analysis, path: Path, nodes: int | None = None) -> None:
    """Draw the figure into a PNG or SVG file."""
    from dnnbench.report import figure  # not every format needs it

    with writing(path):
        figure.save(analysis, path, nodes)


def has_figure(analysis: Analysis, nodes: int | None) -> bool:
    """Tell whether a trial with that many nodes ended well."""
    nodes = analysis.nodes[0] if nodes is None else nodes
    return any(cell.typical for cell in analysis.cells if cell.nodes == nodes)


def _relative(figure: Path, markdown: Path) -> str:
    """Return the figure's path as the Markdown has to name it."""
    return os.path.relpath(figure, markdown.parent)  # pathlib gets this only in Python 3.12
