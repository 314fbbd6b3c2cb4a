"""The paced rehearsal that follows a sweep's trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.kernel import usable_cores
from dnnbench.sweep import rehearsal as r
from dnnbench.text.words import count_text, duration_text

if TYPE_CHECKING:
    from dnnbench.sweep.observer import Observer
    from dnnbench.sweep.store import SweepStore


def has_left(store: SweepStore) -> bool:
    """Return whether a sweep or its rehearsal has trials left to run."""
    rehearsal = r.open_rehearsal(store)
    return bool(store.pending() or (rehearsal and rehearsal.pending()))


def rehearsal_of(store: SweepStore, observer: Observer) -> SweepStore | None:
    """Return the rehearsal of a sweep whose trials have run, made now if there is none yet.

    Where there is none to be, the observer is told why if the user asked for it.
    """
    if found := r.open_rehearsal(store):
        return found if found.pending() else None
    config, cores = store.resolved.config, usable_cores()
    if not config.sweep.rehearsal:
        return None
    asked = store.resolved.origins.get(r.SETTING, "default") == "--rehearsal"
    if reason := r.refusal(config, cores):
        if asked:
            observer.notice(f"no rehearsal: {reason}")
        return None
    outcomes = store.outcomes()
    planned = r.plan_rehearsal(config, outcomes, cores)
    if planned is None:
        observer.notice("no rehearsal: no trial that succeeded tells the pace for it")
        return None
    lasts = duration_text(planned.duration_s)
    if not (asked or r.is_short(planned, outcomes, config.run.stall_timeout_s)):
        observer.notice(
            f"no paced rehearsal: it would take {lasts} at {planned.pace_ms:g} ms per step; "
            "--rehearsal runs it all the same"
        )
        return None
    low, high = planned.nodes
    observer.notice(
        f"paced rehearsal of {low} and {high} nodes: {planned.pace_ms:g} ms per step or more, so "
        f"that the roles need {r.CORE_SHARE:.0%} of {count_text(int(cores), 'core')}; "
        f"{planned.steps} steps per trial, about {lasts}"
    )
    return r.create_rehearsal(store, planned)
