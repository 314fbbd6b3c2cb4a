"""The hosts of a command: those that let us in, with their tools, and why the others did not."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from dnnbench.deploy.tools import HostTools
from dnnbench.errors import HostError
from dnnbench.fleet import Fleet, each
from dnnbench.inventory import to_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import Self

    from dnnbench.config import Config
    from dnnbench.inventory import Host

T = TypeVar("T")


class Reach:
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
