"""The limits on hours and cost that settings set to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.cli.shared.prices import prices_of_run
from dnnbench.cost.accuracy import exact
from dnnbench.cost.estimate import machines_kept
from dnnbench.errors import ConfigError
from dnnbench.sweep.limits import Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.settings.schema import Config, Resolved
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.spec import TrialSpec

LIMITS: Final = ("run.max_hours", "run.max_cost_usd")
"""Settings that a resumed sweep takes anew: they change no trial."""


def with_limits(config: Config, now: Resolved) -> Config:
    """Return the settings of a resumed sweep with the limits that options give this time."""
    names = [key.partition(".")[2] for key in LIMITS if now.origins[key].startswith("--")]
    given = {name: getattr(now.config.run, name) for name in names}
    return msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, **given))


def check_limits(config: Config) -> None:
    """Refuse a limit on the cost of machines without a price."""
    if config.run.max_cost_usd is not None and prices_of_run(config) is None:
        raise ConfigError(
            "this machine has no price",
            where="--max-cost",
            remedy="give it one with --usd-per-hour, or limit the time with --max-hours",
        )


def limits_of_run(config: Config, plan: Plan, pending: Sequence[TrialSpec]) -> list[Limit]:
    """Return the limits of a run; its machines are billed from its begin, all of them."""
    hours, usd = config.run.max_hours, config.run.max_cost_usd
    limits = []
    if hours is not None:
        limits.append(Limit(f"--max-hours {hours:g}", lambda end_s: end_s > hours * 3600))
    basis = prices_of_run(config)
    if usd is not None and basis is not None:
        rate, most = basis.rate_of(*machines_kept(plan, pending)), exact(usd)
        bill = basis.bill_usd
        limits.append(Limit(f"--max-cost {usd:g}", lambda end_s: bill(rate, exact(end_s)) > most))
    return limits
