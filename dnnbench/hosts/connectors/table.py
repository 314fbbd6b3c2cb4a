"""The kinds of connection, and the way to each host by the kind that its list gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.hosts.connectors import command, local, ssh
from dnnbench.settings.hostlists.connect import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dnnbench.hosts.connectors.interface import Route
    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import SshConfig

CONNECTORS: Final[
    Mapping[str, Callable[[Iterable[HostConfig], SshConfig], Mapping[str, Route]]]
] = {
    "ssh": ssh.routes,
    "local": local.routes,
    "command": command.routes,
}
"""Kind, as `dnnbench.settings.hostlists.connect.kind_of` names it -> routes to hosts."""


def routes_to(hosts: Iterable[HostConfig], settings: SshConfig) -> dict[str, Route]:
    """Return how to reach hosts: name -> route.

    Raises:
        ConfigError: the SSH configuration is invalid, or requires what is not supported.
    """
    kinds: dict[str, list[HostConfig]] = {}
    for host in hosts:
        kinds.setdefault(kind_of(host.connect), []).append(host)
    found: dict[str, Route] = {}
    for kind, its in kinds.items():
        found |= CONNECTORS[kind](its, settings)
    return found
