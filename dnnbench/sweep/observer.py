"""The interface between a running sweep and what shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec


class Observer(Protocol):
    """An observer of a running sweep, such as a view."""

    def sweep_started(self, plan: Plan, pending: list[TrialSpec]) -> None:
        """Take the trials of the plan that are still to run."""

    def phase(self, text: str) -> None:
        """Take the phase that is being waited for."""

    def notice(self, text: str) -> None:
        """Take a note for the user, such as that a host is down."""

    def trial_started(self, order: TrialSpec) -> None:
        """Take the trial that starts."""

    def event(self, order: TrialSpec, event: AnyEvent) -> None:
        """Take an event of the running trial."""

    def trial_ended(self, outcome: TrialOutcome) -> None:
        """Take the outcome of a trial, already stored. One that was not run was never started."""
