"""Hosts reached through a program that runs a command there, such as ``kubectl exec``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dnnbench.hosts.connectors.process_connection import ProcessRoute
from dnnbench.settings.hostlists.connect import check_connect, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import SshConfig


def routes(
    hosts: Iterable[HostConfig],
    settings: SshConfig,  # noqa: ARG001 - for SSH only
) -> dict[str, ProcessRoute]:
    """Return how to reach hosts: name -> route.

    Raises:
        ConfigError: a template cannot be used, which may come from a stored sweep.
    """
    found = {}
    for host in hosts:
        template = check_connect(host.connect, f"connect of {host.name}")
        address = host.address or host.name
        found[host.name] = ProcessRoute(host.name, address, partial(words_of, template, host.name))
    return found
