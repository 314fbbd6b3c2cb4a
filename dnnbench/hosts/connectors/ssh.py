"""Hosts reached over SSH by paramiko, with the user's SSH configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.hosts.ssh.connection import Connection
    from dnnbench.hosts.ssh.settings import Target
    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import SshConfig


class SshRoute(NamedTuple):
    """See :class:`dnnbench.hosts.connectors.interface.Route`."""

    target: Target

    @property
    def address(self) -> str:
        """The address to which SSH connects."""
        return self.target.address

    def connect(self, settings: SshConfig) -> Connection:
        """See :class:`dnnbench.hosts.connectors.interface.Route`."""
        from dnnbench.hosts.ssh.connection import connect

        return connect(self.target, settings)


def routes(hosts: Iterable[HostConfig], settings: SshConfig) -> dict[str, SshRoute]:
    """Return how to reach hosts: name -> route.

    Raises:
        ConfigError: the SSH configuration is invalid, or requires what is not supported.
    """
    from dnnbench.hosts.ssh.settings import resolve  # paramiko is slow to import

    return {name: SshRoute(target) for name, target in resolve(hosts, settings).items()}
