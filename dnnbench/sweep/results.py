"""The results directory: name a new sweep, create it, list and open the stored ones."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from dnnbench.errors import ResultsError, nearest
from dnnbench.settings.schema import without_secrets
from dnnbench.settings.textfile import local_path
from dnnbench.sweep.documents import (
    header_line,
    sync_directory,
    write_document,
    write_whole,
    writing,
)
from dnnbench.sweep.store import ENVIRONMENT, TRIALS, Session, SweepStore

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.settings.schema import Resolved
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.machine import MachineSnapshot


class NameTakenError(ResultsError):
    """A sweep of this name already exists."""


def new_sweep_id(results_dir: Path, now: datetime | None = None) -> str:
    """Name a sweep after the time, ``2026-11-22T14-28-41Z``, with ``-2`` if that is taken."""
    moment = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    stem = name = moment.strftime("%Y-%m-%dT%H-%M-%SZ")
    number = 1
    while (results_dir.expanduser() / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def create(
    results_dir: Path, resolved: Resolved, plan: Plan, environment: MachineSnapshot
) -> SweepStore:
    """Make a sweep's directory, all of it or nothing; no secret of the settings is stored.

    Raises:
        NameTakenError: it already exists.
        ResultsError: it cannot be written.
    """
    import shutil  # imports every compression module; not needed to read a sweep

    path = results_dir.expanduser() / plan.sweep
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            (aside / "trials").mkdir(parents=True)
            write_document(aside / "config.json", "config", without_secrets(resolved))
            write_document(aside / "plan.json", "plan", plan)
            write_document(aside / ENVIRONMENT, "environment", [Session(environment)])
            write_whole(aside / TRIALS, header_line("trials"))
            _rename(aside, path)
            sync_directory(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return SweepStore(path)


def _rename(aside: Path, path: Path) -> None:
    try:
        aside.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise NameTakenError("already exists", where=str(path)) from None
        raise


def open_sweep(
    results_dir: Path, name: str | None = None, *, need_outcomes: bool = True
) -> SweepStore:
    """Open a stored sweep.

    Args:
        results_dir: directory of all sweeps.
        name: of the sweep, or a path to it; None for the newest.
        need_outcomes: skip sweeps in which no trial has ended, as a report must.

    Raises:
        ConfigError: the name is not a path.
        ResultsError: there is no such sweep, or none with an outcome.
    """
    names = sweep_names(results_dir)
    results_dir = results_dir.expanduser()
    if name is not None:
        named = local_path(name, "SWEEP")
        for path in (results_dir / name, named):
            if (path / "plan.json").exists():
                return SweepStore(path)
        if named.is_dir():
            raise ResultsError("is no sweep: it has no plan.json", where=str(named))
        remedy = nearest(name, names) or (f"the newest is {names[-1]}" if names else None)
        raise ResultsError(f"there is no sweep {name!r}", where=str(results_dir), remedy=remedy)
    for candidate in reversed(names):
        store = SweepStore(results_dir / candidate)
        if not need_outcomes or store.has_outcomes():
            return store
    problem = "no trial of any sweep has ended" if names else "there is no sweep"
    remedy = "resume one with `dnnbench run --resume`" if names else "run one with `dnnbench run`"
    raise ResultsError(problem, where=str(results_dir), remedy=remedy)


def sweep_names(results_dir: Path) -> list[str]:
    """List the sweeps, oldest first; ``…Z-10`` after ``…Z-9``."""
    results_dir = results_dir.expanduser()
    if not results_dir.is_dir():
        return []
    found = [path.parent.name for path in results_dir.glob("[!.]*/plan.json")]
    return sorted(found, key=lambda name: (name.partition("Z")[0], len(name), name))
