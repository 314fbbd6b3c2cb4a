"""``dnnbench status``: the clusters running on hosts, with owner, start, purpose and activity."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from dnnbench.cli.shared.hosts import load_with_hosts, reached, refuse_missing
from dnnbench.cli.shared.options import common_options, hosts_options, settings_options
from dnnbench.text.safe import json_text
from dnnbench.text.tables import NONE, Column, Table, table_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.hosts.agents.clusters import Leftover, Part
    from dnnbench.settings.hostlists.sources import HostsChoice


@click.command("status")
@hosts_options()
@settings_options("status")
@click.option("--orphans", is_flag=True, help="Show leftovers of clusters that have ended instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@common_options()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    hosts: HostsChoice,
    settings: dict[str, str | None],
    config_path: Path | None,
    orphans: bool,
    as_json: bool,
) -> None:
    """Show the clusters running on hosts.

    For each: owner, start, purpose, activity and the rest of its lease. Times are in this machine's
    time zone.
    """
    from dnnbench.hosts.agents.clusters import parts_of  # paramiko takes a while to import

    printer: Printer = ctx.obj
    config = load_with_hosts(config_path, settings, hosts).config
    with reached(config, printer) as reach:
        answers = reach.each(parts_of)
    parts = {host: found for host, (found, _) in answers.items()}
    leftovers = {host: found for host, (_, found) in answers.items()}
    if as_json:
        document = {"orphans": leftovers} if orphans else {"clusters": parts}
        printer.result(json_text(document))
    else:
        table = _leftovers(leftovers) if orphans else _parts(parts)
        text = table_text(table, printer.screen())
        printer.result(printer.completed(text) if orphans else text)
    refuse_missing(reach.missing, printer)


def _parts(parts: Mapping[str, list[Part]]) -> Table:
    names = ("Host", "Cluster", "Owner", "Since", "For", "Doing", "Lease left")
    rows = []
    for host, found in parts.items():
        rows += [
            [
                host,
                part.cluster,
                part.owner,
                _time(part.since),
                part.purpose,
                part.doing,
                "in use" if part.attached else _minutes(part.lease_left_s),
            ]
            for part in found
        ]
        if not found:
            rows.append([host, *[NONE] * (len(names) - 1)])
    return Table(
        title="Clusters running on the hosts",
        columns=[Column(name, is_text=True) for name in names],
        rows=rows,
        notes=["Since: in this machine's time zone. Lease left: if no controller connects."],
    )


def _leftovers(leftovers: Mapping[str, list[Leftover]]) -> Table:
    rows = [
        [host, found.cluster, ", ".join(map(str, found.pids)) or "only files"]
        for host, all_found in leftovers.items()
        for found in all_found
    ]
    note = "`dnnbench stop CLUSTER` removes one." if rows else "There are none."
    return Table(
        title="Leftovers of clusters that have ended",
        columns=[Column(name, is_text=True) for name in ("Host", "Cluster", "Processes")],
        rows=rows,
        notes=[note],
    )


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M")


def _minutes(left_s: float | None) -> str:
    return NONE if left_s is None else f"{max(left_s, 0) / 60:.0f} min"
