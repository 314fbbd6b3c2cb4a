"""Run a sweep as the command line does, and print its progress on standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dnnbench.data import locate
from dnnbench.hosts.local import LocalAgents
from dnnbench.settings.load import load
from dnnbench.sweep import results, store
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.runner import run_sweep
from dnnbench.trial.machine import snapshot

if TYPE_CHECKING:
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec


class Teller:
    """An observer that prints one word per line."""

    def sweep_started(self, plan: Plan, pending: list[TrialSpec]) -> None:
        tell(f"{len(pending)} of {len(plan.orders)} trials")

    def phase(self, text: str) -> None:
        tell(text)

    def notice(self, text: str) -> None:
        tell(text)

    def trial_started(self, order: TrialSpec) -> None:
        tell(order.id)

    def event(self, _order: TrialSpec, event: AnyEvent) -> None:
        tell(type(event).__name__)

    def trial_ended(self, outcome: TrialOutcome) -> None:
        tell(outcome.status)


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(sweep: Path) -> None:
    """Run the sweep at this path; create it if it does not exist."""
    if not sweep.exists():
        options = {
            "sweep.nodes": "3",
            "sweep.protocols": "downpour",
            "sweep.repeats": 2,
            "train.batch_size": 500,
            "train.epochs": 3,
            "run.ready_timeout_s": 60,
        }
        resolved = load(None, {}, options)
        data = locate.locate("synthetic-mnist").order
        plan = make_plan(resolved.config, data, sweep.name)
        results.create(sweep.parent, resolved, plan, snapshot())
    run_sweep(store.SweepStore(sweep), Teller(), LocalAgents())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
