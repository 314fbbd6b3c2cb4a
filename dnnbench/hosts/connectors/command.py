"""Hosts reached through a program that runs a command there, such as ``kubectl exec``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dnnbench.hosts.connectors.process_connection import ProcessRoute
from dnnbench.settings.hostlists.connect import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import SshConfig


def routes(
    hosts: Iterable[HostConfig],
    settings: SshConfig,  # noqa: ARG001 - for SSH only
) -> dict[str, ProcessRoute]:
    """Return how to reach hosts: name -> route."""
    return {
        host.name: ProcessRoute(
            host.name, host.address or host.name, partial(words_of, host.connect, host.name)
        )
        for host in hosts
    }
