"""The progress of a sweep and of its trials in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.text.words import about_text

if TYPE_CHECKING:
    from dnnbench.sweep.progress import SweepProgress, TrialProgress


def left_text(sweep: SweepProgress) -> str:
    """Write the time that is left, as far as it can be told."""
    left_s = sweep.remaining_s()
    return about_text(left_s) if left_s is None else f"{about_text(left_s)} left"


def workers_figures(trial: TrialProgress) -> tuple[str, str, float]:
    """Return examples/s and mean loss of all workers as text, and how much they have done."""
    workers = trial.workers
    per_s = [role.examples_per_s for role in workers if role.examples_per_s is not None]
    losses = [role.loss for role in workers if role.loss is not None]
    done = sum(role.done(trial.spec.epochs) for role in workers) / max(len(workers), 1)
    mean = sum(losses) / len(losses) if losses else None
    return number(sum(per_s) if per_s else None, ",.0f"), number(mean, ".4f"), done


def workers_text(trial: TrialProgress) -> str:
    """Write how far the workers of a trial are, and how fast."""
    per_s, loss, done = workers_figures(trial)
    if not per_s:
        return "starting"
    return f"{done:.0%} trained, {per_s} examples/s, loss {loss}"


def number(value: float | None, style: str) -> str:
    """Write a number; nothing if there is none."""
    return "" if value is None else format(value, style)
