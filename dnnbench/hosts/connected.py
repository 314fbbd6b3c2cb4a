"""The hosts of a command: those that let us in, with their tools, and why the others did not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from dnnbench.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from dnnbench.hosts.ssh.connection import Connection
    from dnnbench.hosts.ssh.settings import Target
    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.schema import SshConfig
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dnnbench.hosts.parallel import AT_ONCE, T, each
from dnnbench.hosts.provision.tools import HostTools
from dnnbench.sweep.placement import to_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import Self

    from dnnbench.settings.schema import Config
    from dnnbench.sweep.placement import Host


class ConnectedHosts:
    """Connections to hosts and the tools there, for as long as a command takes.

    Attributes:
        hosts: that let us in, as a plan has them; in the inventory's order.
        tools: host -> its tools; of the same hosts.
        missing: host -> why it is none of them; in the inventory's order.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._listed = {host.name: host for host in config.hosts}
        self._fleets: dict[str, Fleet] = {}
        self._stack = ExitStack()
        self.hosts: list[Host] = []
        self.tools: dict[str, HostTools] = {}
        self.missing: dict[str, HostError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, names: Iterable[str] | None = None) -> Self:
        """Connect to hosts at once, to all if none are named; the missing ones say why."""
        hosts = [self._listed[name] for name in (self._listed if names is None else names)]
        fleet = self._stack.enter_context(Fleet(hosts, self._config.ssh))
        for name, connection in fleet.connections.items():
            self._fleets[name] = fleet
            self.tools[name] = HostTools(connection, self._config)
            self.hosts.append(to_host(self._listed[name], connection.address))
        self.drop(fleet.failures)
        return self

    def reopen(self, name: str) -> HostTools:
        """Connect to a host again, whose connection is lost; trying once.

        Raises:
            HostError: in vain.
        """
        self.tools[name] = HostTools(self._fleets[name].reopen(name), self._config)
        return self.tools[name]

    def each(
        self, do: Callable[[HostTools], T], names: Iterable[str] | None = None
    ) -> dict[str, T]:
        """Do something on hosts at once; do without those where it fails from then on."""
        asked = list(self.tools if names is None else names)
        results = each(asked, lambda name: do(self.tools[name]))
        self.drop({name: got for name, got in results.items() if isinstance(got, HostError)})
        return {name: got for name, got in results.items() if not isinstance(got, HostError)}

    def drop(self, failures: Mapping[str, HostError]) -> None:
        """Do without these hosts from now on."""
        why = {**self.missing, **failures}
        self.missing = {name: why[name] for name in self._listed if name in why}
        self.hosts = [host for host in self.hosts if host.name not in failures]
        for name in failures:
            self.tools.pop(name, None)


class Fleet:
    """Connections to hosts, opened together, closed together.

    Attributes:
        connections: name -> connection, of the hosts that could be reached; in their order.
        failures: name -> why not, of the others.
    """

    def __init__(self, hosts: Iterable[HostConfig], settings: SshConfig) -> None:
        self._hosts = list(hosts)
        self._settings = settings
        self._targets: dict[str, Target] = {}
        self._lock = threading.Lock()
        self._opened: list[Connection] = []
        self._is_closed = False
        self.connections: dict[str, Connection] = {}
        self.failures: dict[str, HostError] = {}

    def __enter__(self) -> Self:
        from dnnbench.hosts.ssh.settings import resolve  # paramiko takes a while to import

        self._targets = resolve(self._hosts, self._settings)
        try:
            outcomes = each(self._targets, self._open)
        except BaseException:
            self.close()
            raise
        for name, outcome in outcomes.items():
            if isinstance(outcome, HostError):
                self.failures[name] = outcome
            else:
                self.connections[name] = outcome
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def each(
        self, do: Callable[[Connection], T], *, at_once: int = AT_ONCE
    ) -> dict[str, T | HostError]:
        """Do the same with every open connection; see the function `each`."""
        return each(self.connections, lambda name: do(self.connections[name]), at_once=at_once)

    def reopen(self, name: str) -> Connection:
        """Connect to a host anew, in place of the connection there may be.

        Once: whoever lost a connection knows best how long to go on trying.

        Raises:
            HostError: in vain.
        """
        if name in self.connections:
            self.connections[name].close()
        connection = self._open(name, msgspec.structs.replace(self._settings, tries=1))
        self.connections[name] = connection
        self.failures.pop(name, None)
        return connection

    def close(self) -> None:
        """Close all connections, also those that are still being opened. Safe to do twice."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, []
        for connection in opened:
            connection.close()

    def _open(self, name: str, settings: SshConfig | None = None) -> Connection:
        from dnnbench.hosts.ssh.connection import connect  # as above

        connection = connect(self._targets[name], settings or self._settings)
        with self._lock:
            if not self._is_closed:
                self._opened.append(connection)
                return connection
        connection.close()
        raise HostError("it was reached too late", where=name)
