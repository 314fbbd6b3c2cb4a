"""``dnnbench provision``: install software and data on hosts, check hosts, and clean up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from dnnbench.cli.shared.data import find_data
from dnnbench.cli.shared.hosts import load_with_hosts, reached, refuse_missing
from dnnbench.cli.shared.options import common_options, hosts_options, settings_options
from dnnbench.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.settings.hostlists.sources import HostsChoice
    from dnnbench.settings.schema import Config

REMOVE_TIMEOUT_S: Final = 120.0
"""An environment has tens of thousands of files."""


@click.command("provision")
@hosts_options()
@settings_options("provision")
@click.option("--check", is_flag=True, help="Install nothing; check hosts and connections.")
@click.option("--remove", is_flag=True, help="Remove everything of dnnbench from the hosts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@common_options()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    hosts: HostsChoice,
    settings: dict[str, str | None],
    config_path: Path | None,
    check: bool,
    remove: bool,
    as_json: bool,
) -> None:
    """Install TensorFlow, dnnbench and the data on hosts.

    Works on all hosts at once, in one directory of yours on each. Anything already installed is
    left alone, so a second call changes nothing.
    """
    if check and remove:
        raise click.UsageError("--check and --remove exclude each other")
    printer: Printer = ctx.obj
    resolved = load_with_hosts(config_path, settings, hosts)
    if remove:
        _remove(resolved.config, printer, as_json=as_json)
        return
    from dnnbench.hosts.provision.wanted import wanted_for

    wanted = wanted_for(resolved.config, find_data(resolved, printer).order)
    if check:
        _check(resolved.config, wanted, printer, as_json=as_json)
    else:
        _provision(resolved.config, wanted, printer, as_json=as_json)


def _provision(config: Config, wanted: Wanted, printer: Printer, *, as_json: bool) -> None:
    from dnnbench.cli.views import provision as view
    from dnnbench.hosts.provision.facts import twins
    from dnnbench.hosts.provision.steps import Sites, provision

    sites = Sites()
    with reached(config, printer) as reach, view.progress(printer, reach.tools) as progress:
        facts = reach.each(lambda tools: provision(tools, config, wanted, sites, progress.tell))
        reach.drop(twins(facts))
    if as_json:
        printer.result(view.provisioned_document(progress.steps, reach.missing))
    else:
        printer.result(view.provisioned(progress.steps, printer.screen()))
    refuse_missing(reach.missing, printer)


def _check(config: Config, wanted: Wanted, printer: Printer, *, as_json: bool) -> None:
    from dnnbench.cli.views import provision as view
    from dnnbench.hosts.provision.facts import Facts, chosen_python, facts_of, refuse_unfit, twins
    from dnnbench.hosts.provision.preflight import try_pairs

    def look(tools: HostTools) -> Facts:
        facts = facts_of(tools, config, wanted)
        refuse_unfit(facts, config, tools.host)
        chosen_python(facts, config, tools.host)
        return facts

    with reached(config, printer) as reach:
        facts = reach.each(look)
        reach.drop(twins(facts))
        among = config.sweep.connects_all_hosts
        tasks = "all hosts" if among else "workers and parameter servers"
        printer.note(f"trying every connection between {tasks}")
        pairs, failures = try_pairs(
            reach.tools,
            reach.hosts,
            config.sweep.servers_of(config.sweep.largest),
            config.cluster.ports,
            among_workers=among,
            bandwidth=True,
        )
    if as_json:
        printer.result(view.checked_document(facts, pairs, reach.missing))
    else:
        printer.result(view.checked(facts, wanted, pairs, printer.screen()))
    for name, found in facts.items():
        for warning in found.warnings(name, config):
            printer.note(f"warning: {warning}")
    failed = {
        f"{pair.source} -> {pair.target}": HostError(
            pair.problem, where=pair.source, remedy=pair.remedy
        )
        for pair in pairs
        if pair.problem
    }
    refuse_missing({**reach.missing, **failures, **failed}, printer)


def _remove(config: Config, printer: Printer, *, as_json: bool) -> None:
    from dnnbench.cli.views import provision as view
    from dnnbench.hosts.provision.answers import convert
    from dnnbench.hosts.provision.steps import Removed

    def remove(tools: HostTools) -> Removed:
        return convert(tools.host, tools.call("remove", REMOVE_TIMEOUT_S), Removed)

    with reached(config, printer) as reach:
        removed = reach.each(remove)
    if as_json:
        printer.result(view.removed_document(removed, reach.missing))
    else:
        printer.result(view.removed(removed, config.cluster.directory))
    refuse_missing(reach.missing, printer)
