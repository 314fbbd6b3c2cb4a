"""``dnnbench stop``: stop clusters on hosts, and verify that nothing is left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dnnbench.cli.shared.hosts import load_with_hosts, reached, refuse_missing
from dnnbench.cli.shared.options import common_options, hosts_options, settings_options
from dnnbench.errors import HostError
from dnnbench.text.safe import json_text, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.hosts.agents.clusters import Ended
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.settings.hostlists.sources import HostsChoice


@click.command("stop")
@click.argument("cluster", required=False)
@hosts_options()
@settings_options("stop")
@click.option("--force", is_flag=True, help="Also stop a cluster that is in use.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@common_options()
@click.pass_context
def command(
    ctx: click.Context,
    *,
    cluster: str | None,
    hosts: HostsChoice,
    settings: dict[str, str | None],
    config_path: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Stop clusters on hosts.

    CLUSTER is the name of one; by default all that you launched from this machine are stopped.
    Exits with 0 only if every process has ended and every port is free.
    """
    from dnnbench.hosts.agents.clusters import end_part, parts_of  # paramiko takes a while
    from dnnbench.hosts.agents.identity import owner

    printer: Printer = ctx.obj
    config = load_with_hosts(config_path, settings, hosts).config

    def end_all(tools: HostTools) -> dict[str, Ended]:
        parts, leftovers = parts_of(tools)
        # A cluster may have been launched under another name of this host; this name comes last.
        parts.sort(key=lambda part: part.host == tools.host)
        found = {
            part.cluster: part.host
            for part in parts
            if part.cluster == cluster or (not cluster and part.owner == owner())
        }
        found |= {
            left.cluster: left.host
            for left in leftovers
            if left.host == tools.host and left.cluster == cluster
        }
        return {name: end_part(tools, name, force=force, host=host) for name, host in found.items()}

    with reached(config, printer) as reach:
        ended = reach.each(end_all)
    if as_json:
        printer.result(json_text(ended))
    else:
        printer.result(_text(ended, cluster) if ended else "")
    unclean = {
        f"{host} {name}": HostError(
            f"cluster {name}: {_rest(what)}",
            where=host,
            remedy="see `dnnbench status --orphans`",
        )
        for host, all_ended in ended.items()
        for name, what in all_ended.items()
        if not what.is_clean
    }
    refuse_missing({**reach.missing, **unclean}, printer)


def _text(ended: Mapping[str, Mapping[str, Ended]], cluster: str | None) -> str:
    lines = [
        one_line(
            f"{host}: cluster {name}: {what.ended} process{'es' * (what.ended != 1)} ended, "
            + ("none is left, every port is free" if what.is_clean else _rest(what))
        )
        for host, all_ended in ended.items()
        for name, what in all_ended.items()
    ]
    what = one_line(f"cluster {cluster}") if cluster else "a cluster of yours"
    return "\n".join(lines or [f"no host that answered has {what}"]) + "\n"


def _rest(what: Ended) -> str:
    parts = []
    if what.left:
        parts.append(f"processes still running: {', '.join(map(str, what.left))}")
    if what.ports_taken:
        parts.append(f"ports still in use: {', '.join(map(str, what.ports_taken))}")
    return "; ".join(parts)
