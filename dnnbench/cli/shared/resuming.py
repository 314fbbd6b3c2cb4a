"""The sweep that ``dnnbench run --resume`` resumes, with its own settings and no others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dnnbench.cli.shared.limits import LIMITS
from dnnbench.cli.shared.rehearsal import has_left
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.settings.load import load
from dnnbench.settings.schema import settings as all_settings
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.results import open_sweep, sweep_names
from dnnbench.sweep.store import SweepStore
from dnnbench.sweep.stored_checks import changed_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.hostlists.sources import HostsChoice
    from dnnbench.settings.schema import Resolved

NEWEST: Final = ""
"""Stands for the name of the newest unfinished sweep."""
_MAY_CHANGE: Final = ("sweep.results_dir", *LIMITS)
"""Settings of this time: they change no trial."""
_OF_TRIALS: Final = ("sweep", "train", "protocol")


def refuse_others(settings: Mapping[str, str | None], hosts: HostsChoice) -> None:
    """Refuse options that would change a resumed sweep; a limit or --results-dir does not."""
    others = hosts.given + [
        all_settings()[key].option
        for key, value in settings.items()
        if value is not None and key not in _MAY_CHANGE
    ]
    if others:
        raise ConfigError(
            "a resumed sweep keeps its own settings",
            where=", ".join(others),
            remedy="leave them out, or start a new sweep without --resume",
        )


def unfinished_sweep(
    name: str, settings: Mapping[str, str | None], config_path: Path | None
) -> SweepStore:
    """Open the sweep to resume: by default the newest unfinished one."""
    results_dir = Path(load(config_path, os.environ, settings).config.sweep.results_dir)
    if name != NEWEST:
        store = open_sweep(results_dir, name, need_outcomes=False)
        if has_left(store):
            return store
        raise ResultsError("has no trial left to run", where=str(store.path))
    for found in reversed(sweep_names(results_dir)):
        store = SweepStore(results_dir.expanduser() / found)
        if has_left(store):
            return store
    raise ResultsError(
        "there is no unfinished sweep",
        where=str(results_dir),
        remedy="start one with `dnnbench run`",
    )


def refuse_changed(store: SweepStore) -> None:
    """Refuse a sweep whose trials would not be those that its settings give.

    Raises:
        ResultsError: its config.json, or the source of its model, has changed since it was planned.
    """
    plan = store.plan
    again = make_plan(
        store.resolved.config, plan.orders[0].data, plan.sweep, hosts=plan.hosts, cores=1.0
    )
    differing = changed_settings(plan, {order.id: order for order in again.orders})
    if differing:
        listed = ", ".join(f"{name} is {how}" for name, how in differing.items())
        raise ResultsError(
            f"has changed since the sweep was planned: {listed}",
            where=str(store.path / "config.json"),
            remedy="a sweep does not mix settings: undo the change, or start a new sweep",
        )


def note_kept(store: SweepStore, now: Resolved, printer: Printer) -> None:
    """Note which settings of the file or the environment a resumed sweep does not take."""
    then = store.resolved.config
    kept = [
        f"{key} of {now.origins[key]}"
        for key, field in all_settings().items()
        if field.table in _OF_TRIALS
        and key not in _MAY_CHANGE
        and now.origins[key] != "default"
        and _value(now.config, field.table, field.name) != _value(then, field.table, field.name)
    ]
    if kept:
        printer.note(f"note: the sweep keeps its own settings and does not take {', '.join(kept)}")


def _value(config: object, table: str, name: str) -> object:
    return getattr(getattr(config, table), name)
