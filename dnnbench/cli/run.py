"""``dnnbench run``: run or resume a sweep, and report."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnbench.analysis.context import load_analysis
from dnnbench.cli.shared.data import find_data, note_ignored, planned_data
from dnnbench.cli.shared.limits import check_limits, limits_of_run, with_limits
from dnnbench.cli.shared.options import common_options, hosts_options, settings_options
from dnnbench.cli.shared.prices import frozen_for, prices_of_run
from dnnbench.cli.shared.rehearsal import has_left, rehearsal_of
from dnnbench.cli.shared.resuming import (
    NEWEST,
    note_kept,
    refuse_changed,
    refuse_others,
    unfinished_sweep,
)
from dnnbench.cli.views.sweep import make_view
from dnnbench.cost.estimate import estimate_cost
from dnnbench.cost.frozen import freeze
from dnnbench.errors import (
    EXIT_INTERRUPTED,
    ConfigError,
    HostError,
    LimitError,
    TrialError,
)
from dnnbench.hosts.local import LocalAgents
from dnnbench.hosts.model_check import check_model
from dnnbench.kernel import gpus, memory_bytes
from dnnbench.report.figures.picture import Subject
from dnnbench.report.files import write_markdown
from dnnbench.settings.checks import check_device
from dnnbench.settings.hostlists.sources import note_on_job
from dnnbench.settings.load import at_origin, load
from dnnbench.sweep.history import measured_trial_s, measured_trials_s
from dnnbench.sweep.memory import check_memory
from dnnbench.sweep.own_model import find_user_module
from dnnbench.sweep.placement import LISTED, to_host
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.results import NameTakenError, create, new_sweep_id
from dnnbench.sweep.runner import run_sweep, signals_interrupt
from dnnbench.text.safe import json_text
from dnnbench.trial.machine import snapshot
from dnnbench.trial.models import MODELS
from dnnbench.trial.role_environment import passed_on
from dnnbench.trial.spec import ModelSpec

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.hostlists.sources import HostsChoice
    from dnnbench.settings.schema import Config, Resolved
    from dnnbench.sweep.agents import AgentSource
    from dnnbench.sweep.observer import Observer
    from dnnbench.sweep.placement import Host
    from dnnbench.sweep.plan import Plan
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import CellKey, DataSpec, TrialSpec


@click.command("run")
@hosts_options("[[hosts]], else this machine")
@settings_options("run")
@click.option("--dry-run", is_flag=True, help="Print the plan; write nothing.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[SWEEP]",
    help="Resume the named sweep, or the newest unfinished one, with its own settings.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
@common_options()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    hosts: HostsChoice,
    settings: dict[str, str | None],
    config_path: Path | None,
    dry_run: bool,
    resume: str | None,
    as_json: bool,
) -> None:
    """Run a sweep of trials, or resume one.

    Every combination of --nodes and --protocols is one cell of the sweep, run --repeats times on a
    real cluster of TensorFlow processes, on hosts or on this machine. Every outcome is stored as it
    comes; Ctrl-C keeps the finished trials. Prints the report at the end.
    """
    printer: Printer = ctx.obj
    if resume is not None:
        refuse_others(settings, hosts)
        store = unfinished_sweep(resume, settings, config_path)
        refuse_changed(store)
        now = load(config_path, os.environ, settings)
        note_kept(store, now, printer)
        limited = with_limits(store.resolved.config, now)
        _check_here(limited)
        if dry_run:
            _show_plan(limited, store.plan, store.pending(), printer, as_json=as_json)
            return
        _check_tensorflow(store.resolved.config)
    else:
        resolved = load(config_path, os.environ, settings, hosts)
        check_device(resolved.config, resolved.origins["train.device"], gpus())
        limited = resolved.config
        _check_here(limited)
        prices = frozen_for(limited.cost)
        find_user_module(resolved.config.train.model, resolved.origins["train.model"])
        if not resolved.config.hosts and (note := note_on_job(os.environ)):
            printer.note(note)
        if dry_run:
            measured_s = measured_trial_s(Path(limited.sweep.results_dir), limited)
            plan = _plan(resolved, planned_data(resolved), measured_s)
            note_ignored(resolved, printer)
            _show_plan(limited, plan, plan.orders, printer, as_json=as_json)
            return
        store = _new_sweep(resolved, printer)
        freeze(store, prices)

    stopped: TrialError | LimitError | None = None
    try:
        with make_view(printer) as view:
            limits = limits_of_run(limited, store.plan, store.pending())
            source = _agent_source(store, view)
            run_sweep(store, view, source, limits, lambda: rehearsal_of(store, view))
    except KeyboardInterrupt:
        printer.note(f"interrupted after {_standing(store)}")
        ctx.exit(EXIT_INTERRUPTED)
    except HostError:
        printer.note(f"stopped after {_standing(store)}")
        raise
    except (TrialError, LimitError) as error:
        stopped = error
        if not store.has_outcomes():
            raise
    outcomes = store.outcomes()
    _conclude(ctx, store, outcomes, printer, as_json=as_json)
    if failure := stopped or _first_failure(store, outcomes) or _not_run(store, outcomes):
        raise failure


def _new_sweep(resolved: Resolved, printer: Printer) -> SweepStore:
    """Find the data, plan, and make the sweep's directory."""
    config = resolved.config
    _check_tensorflow(config)
    measured_s = measured_trial_s(Path(config.sweep.results_dir), config)
    _plan(resolved, planned_data(resolved), measured_s)  # what it refuses needs no download
    located = find_data(resolved, printer)
    if config.train.model not in MODELS:
        printer.note(f"building {config.train.model} once, to check it ...")
        model = ModelSpec(config.train.model, l2=config.train.l2, dropout=config.train.dropout)
        variables = passed_on(config.cluster.environment, os.environ)
        where = resolved.origins["train.model"]
        check_model(model, located.examples, where, variables=variables)
    while True:
        plan = _plan(resolved, located.order, measured_s, located.note)
        # Two sweeps started in the same second get two names.
        with suppress(NameTakenError):
            return create(Path(config.sweep.results_dir), resolved, plan, snapshot())


def _check_here(config: Config) -> None:
    """Refuse limits without a price, and variables to pass on that are not set here."""
    check_limits(config)
    passed_on(config.cluster.environment, os.environ)


def _check_tensorflow(config: Config) -> None:
    """Refuse trials on this machine where TensorFlow was left out of the installation."""
    if not config.hosts and find_spec("tensorflow") is None:
        raise HostError(
            f"TensorFlow is not installed for {sys.executable}, and trials need it",
            where="localhost",
            remedy="install dnnbench with it, or give --hosts to run on other machines",
        )


def _agent_source(store: SweepStore, observer: Observer) -> AgentSource:
    """Return the agent source for the sweep: local, or kept on hosts if any are configured."""
    config = store.resolved.config
    if not config.hosts:
        return LocalAgents(passed_on(config.cluster.environment, os.environ))
    from dnnbench.hosts.agents.source import HostAgents  # paramiko takes a while to import
    from dnnbench.hosts.provision.wanted import wanted_for

    wanted = wanted_for(config, store.plan.orders[0].data)
    return HostAgents(config, wanted, f"sweep {store.name}", observer.notice)


def _plan(
    resolved: Resolved,
    data: DataSpec,
    measured_s: dict[CellKey, float],
    data_note: str | None = None,
) -> Plan:
    config = resolved.config
    sweep_id = new_sweep_id(Path(config.sweep.results_dir))
    check_memory(config, memory_bytes(), resolved.origins["sweep.nodes"])
    # A task has at least one core to itself on a host of its own.
    cores = float(config.sweep.largest.nodes) if config.hosts else None
    try:
        return make_plan(
            config,
            data,
            sweep_id,
            hosts=_hosts(config),
            cores=cores,
            measured_s=measured_s,
            data_note=data_note,
            hosts_from=resolved.origins["hosts"] if config.hosts else LISTED,
        )
    except ConfigError as error:
        raise at_origin(error, resolved.origins) from None


def _hosts(config: Config) -> list[Host] | None:
    """Return the hosts as a plan has them; None for this machine."""
    if not config.hosts:
        return None
    from dnnbench.hosts.connectors.table import routes_to

    routes = routes_to(config.hosts, config.ssh)
    return [to_host(host, routes[host.name].address) for host in config.hosts]


def _show_plan(
    config: Config, plan: Plan, pending: list[TrialSpec], printer: Printer, *, as_json: bool
) -> None:
    from dnnbench.cli.views import plan as _plan_view  # dry runs only

    basis = prices_of_run(config)
    cost = None
    if basis is not None:
        measured_s = measured_trials_s(Path(config.sweep.results_dir), config)
        cost = estimate_cost(plan, pending, basis, measured_s)
    if as_json:
        printer.result(_plan_view.as_json(plan, pending, cost))
    else:
        has_price = basis is not None
        screen = printer.screen()
        printer.result(_plan_view.render(plan, pending, screen, cost, has_price=has_price))


def _conclude(
    ctx: click.Context,
    store: SweepStore,
    outcomes: list[TrialOutcome],
    printer: Printer,
    *,
    as_json: bool,
) -> None:
    """Report a sweep, and note trials that need repeating though they did not fail."""
    try:
        with signals_interrupt():
            _report(store, outcomes, printer, as_json=as_json)
    except KeyboardInterrupt:
        printer.note(f"interrupted after {_standing(store)}")
        ctx.exit(EXIT_INTERRUPTED)
    degraded = [outcome for outcome in outcomes if outcome.status == "degraded"]
    if degraded:
        printer.note(
            f"note: {len(degraded)} of {len(store.plan.orders)} trials lost workers or parameter "
            f"servers and are in no average; `dnnbench run --resume{_argument(store)}` repeats them"
        )


def _report(
    store: SweepStore, outcomes: list[TrialOutcome], printer: Printer, *, as_json: bool
) -> None:
    """Write the full report to the sweep's directory, and print the short one, verdict last."""
    from dnnbench.report import export, terminal  # after the trials, whose cores they would take

    analysis, notes = load_analysis(
        store, store.resolved.config.cost.target_accuracy, outcomes=outcomes
    )
    for note in notes:
        printer.note(f"note: {note}")
    write_markdown(Subject(analysis, outcomes), store.path / "report.md")
    printer.note(
        f"results: {store.path} (report.md with all tables; events and logs of every trial)"
    )
    if as_json:
        document = {"sweep_path": str(store.path), **export.as_document(analysis)}
        printer.result(json_text(document))
    else:
        screen = printer.screen()
        printer.result(terminal.render_short(analysis, screen, is_verdict_last=True))


def _standing(store: SweepStore) -> str:
    """Write how far a sweep got, and how to resume it, or to report it if it is complete."""
    total = len(store.plan.orders)
    finished = total - len(store.pending())
    if finished == total:
        report = f"all {total} trials; report them with: dnnbench report{_argument(store)}"
        if not has_left(store):
            return report
        return f"{report}, or finish their rehearsal with: dnnbench run --resume{_argument(store)}"
    kept = f"; finished trials are in {store.path}" if finished else ""
    return (
        f"{finished} of {total} trials{kept}; resume with: dnnbench run --resume{_argument(store)}"
    )


def _argument(store: SweepStore) -> str:
    """Return the argument that later commands need to find this sweep; empty if they need none."""
    by_option = store.resolved.origins.get("sweep.results_dir", "").startswith("--")
    return f" {store.path}" if by_option else ""


def _first_failure(store: SweepStore, outcomes: list[TrialOutcome]) -> TrialError | None:
    """Return the error that names the first failed trial, if any failed."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if not failed:
        return None
    order, failure = failed[0].order, failed[0].failure
    place = failure.place if failure else ""
    return TrialError(
        f"{len(failed)} of {len(store.plan.orders)} trials failed, the first: "
        f"{' '.join(failure.cause.split()) if failure else 'no cause known'}",
        where=f"{order.id} ({place})" if place else order.id,
        remedy=f"see the logs in {store.path}; `dnnbench run --resume{_argument(store)}` retries",
    )


def _not_run(store: SweepStore, outcomes: list[TrialOutcome]) -> HostError | None:
    """Return the error that names the host for lack of which trials were not run, if any."""
    left = [outcome for outcome in outcomes if outcome.status == "not run"]
    if not left:
        return None
    failure = left[0].failure
    return HostError(
        f"{len(left)} of {len(store.plan.orders)} trials not run: {failure or 'no cause known'}",
        remedy=f"once that is fixed, `dnnbench run --resume{_argument(store)}` runs them",
    )
