"""``dnnbench launch``: start a cluster on hosts and keep it running for the next sweeps."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
import msgspec

from dnnbench.cli.shared.data import find_data
from dnnbench.cli.shared.hosts import load_with_hosts, refuse_missing
from dnnbench.cli.shared.options import common_options, hosts_options, settings_options
from dnnbench.errors import ConfigError, HostError
from dnnbench.sweep.placement import place, to_host
from dnnbench.sweep.runner import signals_interrupt
from dnnbench.text.safe import json_text
from dnnbench.text.tables import Column, Table, table_text
from dnnbench.trial.role_environment import passed_on
from dnnbench.trial.tasks import ClusterSpec, split_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.hosts.agents.launching import Cluster
    from dnnbench.settings.hostlists.sources import HostsChoice
    from dnnbench.sweep.placement import Host


@click.command("launch")
@hosts_options()
@settings_options("launch")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@common_options()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    hosts: HostsChoice,
    settings: dict[str, str | None],
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Start a cluster on hosts and keep it running.

    It has as many nodes as the largest of --nodes. First checks that every worker reaches every
    parameter server, then starts an agent with TensorFlow in memory on each host. `dnnbench run`
    uses the cluster, which ends with `dnnbench stop` or after --lease-s without a controller.
    """
    from dnnbench.hosts.agents.launching import Request, find_or_launch  # paramiko takes a while
    from dnnbench.hosts.agents.source import attach
    from dnnbench.hosts.connected import ConnectedHosts
    from dnnbench.hosts.connectors.table import routes_to
    from dnnbench.hosts.provision.wanted import wanted_for

    printer: Printer = ctx.obj
    resolved = load_with_hosts(config_path, settings, hosts)
    config = resolved.config
    largest = config.sweep.largest
    nodes, servers = largest.nodes, config.sweep.servers_of(largest)
    routes = routes_to(config.hosts, config.ssh)
    listed = [to_host(host, routes[host.name].address) for host in config.hosts]
    place(nodes, servers, listed, resolved.origins["hosts"])
    passed_on(config.cluster.environment, os.environ)  # refuses what is not set
    data = find_data(resolved, printer).order
    request = Request(
        config,
        wanted_for(config, data),
        f"launch of {nodes} nodes",
        nodes,
        notify=printer.note,
        warn=printer.note,
        lease_s=config.cluster.lease_s,
    )
    with signals_interrupt(), ConnectedHosts(config) as connected, ExitStack() as undo:
        cluster = find_or_launch(connected, listed, request)
        undo.callback(cluster.end)
        _placed(nodes, servers, cluster.hosts, connected.missing, printer)
        with attach(cluster, request, is_kept=True) as agents:
            printer.note("importing TensorFlow")
            agents.await_ready(config.run.ready_timeout_s)
            missing = {**connected.missing, **agents.lost}
            placement = _placed(nodes, servers, cluster.hosts, missing, printer)
            for error in missing.values():
                printer.note(f"note: another host replaces a missing one: {error}")
        undo.pop_all()  # from now on it runs without this command
    addresses = _addresses(placement, cluster)
    if as_json:
        printer.result(_document(placement, addresses))
    else:
        printer.result(table_text(_table(placement, addresses), printer.screen()))
        printer.result(f"\nTF_CONFIG of worker:0:\n{_tf_config(addresses, 'worker:0')}\n")
    printer.note(
        f"runs until `dnnbench stop`, or {config.cluster.lease_s / 60:g} min without a controller"
    )


def _placed(
    nodes: int,
    servers: int,
    hosts: Iterable[Host],
    missing: Mapping[str, HostError],
    printer: Printer,
) -> dict[str, str]:
    """Give every task a host that is up.

    Raises:
        HostError: there are too few; all missing ones but the last have been printed.
    """
    up = [host for host in hosts if host.name not in missing]
    try:
        return place(nodes, servers, up)
    except ConfigError:
        refuse_missing(missing, printer)
        raise


def _addresses(placement: Mapping[str, str], cluster: Cluster) -> dict[str, str]:
    """Return task -> the address that is held for it, in the order in which trials take them."""
    hosts = {host.name: host.address for host in cluster.hosts}
    free = {name: iter(keeper.ports) for name, keeper in cluster.keepers.items()}
    return {task: f"{hosts[name]}:{next(free[name])}" for task, name in placement.items()}


def _table(placement: Mapping[str, str], addresses: Mapping[str, str]) -> Table:
    return Table(
        title="Placement",
        columns=[Column(name, is_text=True) for name in ("Task", "Host", "Address")],
        rows=[[task, host, addresses[task]] for task, host in placement.items()],
        notes=[],
    )


def _tf_config(addresses: Mapping[str, str], task: str) -> str:
    """Write TF_CONFIG of a task, as TensorFlow's own resolvers read it."""
    job, index = split_task(task)
    document = {
        "cluster": ClusterSpec.from_tasks(dict(addresses)).as_dict(),
        "task": {"type": job, "index": index},
    }
    return msgspec.json.encode(document).decode()


def _document(placement: Mapping[str, str], addresses: Mapping[str, str]) -> str:
    document = {
        "placement": placement,
        "addresses": addresses,
        "cluster": ClusterSpec.from_tasks(dict(addresses)).as_dict(),
    }
    return json_text(document)
