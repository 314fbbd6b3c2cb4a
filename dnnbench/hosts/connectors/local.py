"""This machine as a host, through a shell: no server, no login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.hosts.connectors.process_connection import ProcessRoute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import SshConfig


def routes(
    hosts: Iterable[HostConfig],
    settings: SshConfig,  # noqa: ARG001 - for SSH only
) -> dict[str, ProcessRoute]:
    """Return how to reach hosts: name -> route."""
    return {host.name: ProcessRoute(host.name, host.address or host.name, _words) for host in hosts}


def _words(command: str) -> list[str]:
    return ["sh", "-c", command]
