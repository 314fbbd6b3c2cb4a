"""Connections of one command: reachable hosts with their tools, errors for the others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.connectors.table import routes_to
from dnnbench.hosts.parallel import T, each
from dnnbench.hosts.provision.tools import HostTools
from dnnbench.sweep.placement import to_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import Self

    from dnnbench.hosts.connectors.interface import Connection, Route
    from dnnbench.settings.schema import Config, SshConfig
    from dnnbench.sweep.placement import Host


class ConnectedHosts:
    """Connections to hosts and the tools there; closed together at the end of the ``with`` block.

    Attributes:
        hosts: the reachable hosts, as a plan has them; in the inventory's order.
        tools: host -> its tools, for the same hosts.
        missing: host -> the reason why it is not among them; in the inventory's order.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._listed = {host.name: host for host in config.hosts}
        self._routes: dict[str, Route] = {}
        self._lock = threading.Lock()
        self._opened: list[Connection] = []
        self._is_closed = False
        self.hosts: list[Host] = []
        self.tools: dict[str, HostTools] = {}
        self.missing: dict[str, HostError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, including those still being opened. Idempotent."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, []
        for connection in opened:
            connection.close()

    def open(self, names: Iterable[str] | None = None) -> Self:
        """Connect to the named hosts concurrently, or to all; record errors in `missing`."""
        hosts = [self._listed[name] for name in (self._listed if names is None else names)]
        self._routes |= routes_to(hosts, self._config.ssh)
        outcomes = each(hosts, lambda host: self._connect(host.name, self._config.ssh))
        failures: dict[str, HostError] = {}
        for name, outcome in outcomes.items():
            if isinstance(outcome, HostError):
                failures[name] = outcome
            else:
                self.tools[name] = HostTools(outcome, self._config)
                self.hosts.append(to_host(self._listed[name], self._routes[name].address))
        self.drop(failures)
        return self

    def reopen(self, name: str) -> HostTools:
        """Replace the connection to a host by a new one.

        One attempt only: the caller lost the connection and decides how long to go on trying.

        Raises:
            HostError: it cannot be reached.
        """
        if name in self.tools:
            self.tools[name].connection.close()
        connection = self._connect(name, msgspec.structs.replace(self._config.ssh, tries=1))
        self.tools[name] = HostTools(connection, self._config)
        return self.tools[name]

    def each(
        self, do: Callable[[HostTools], T], names: Iterable[str] | None = None
    ) -> dict[str, T]:
        """Call a function on hosts concurrently; drop those where it fails."""
        asked = list(self.tools if names is None else names)
        results = each(asked, lambda name: do(self.tools[name]))
        self.drop({name: got for name, got in results.items() if isinstance(got, HostError)})
        return {name: got for name, got in results.items() if not isinstance(got, HostError)}

    def drop(self, failures: Mapping[str, HostError]) -> None:
        """Remove these hosts, and record why in `missing`."""
        why = {**self.missing, **failures}
        self.missing = {name: why[name] for name in self._listed if name in why}
        self.hosts = [host for host in self.hosts if host.name not in failures]
        for name in failures:
            self.tools.pop(name, None)

    def _connect(self, name: str, settings: SshConfig) -> Connection:
        connection = self._routes[name].connect(settings)
        with self._lock:
            if not self._is_closed:
                self._opened.append(connection)
                return connection
        connection.close()
        raise HostError("the connection was opened after the command had ended", where=name)
