"""The hosts of trials, and the placement of tasks on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.errors import ConfigError
from dnnbench.trial.tasks import task_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.settings.hostlists.host import HostConfig

PLACEMENT_RULE: Final = (
    "parameter servers first, then workers; each host is filled to its slots in the order given"
)


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine that runs tasks.

    Attributes:
        address: at which the other tasks of a trial reach it.
        slots: tasks it takes at once; None for any number, which then share its cores.
    """

    name: str
    address: str
    slots: int | None = None


def local_inventory() -> list[Host]:
    """Return this machine as the only host."""
    return [Host(name="localhost", address="127.0.0.1")]


def to_host(config: HostConfig, resolved_address: str) -> Host:
    """Return a host as a plan stores it.

    Args:
        config: as it was listed.
        resolved_address: used by SSH, and by TensorFlow unless there is a ``data_address``.
    """
    address = config.data_address or resolved_address
    if ":" in address and not address.startswith("["):
        address = f"[{address}]"  # IPv6: a port follows
    return Host(config.name, address, config.slots)


LISTED: Final = "[[hosts]]"


def count_beside(nodes: int, parameter_servers: int, hosts: Sequence[Host], most: int) -> int:
    """Return how many trials of a size, at most ``most``, run at once and share no host."""
    free = list(hosts)
    for number in range(most):
        try:
            used = set(place(nodes, parameter_servers, free).values())
        except ConfigError:
            return number
        free = [host for host in free if host.name not in used]
    return most


def place(
    nodes: int, parameter_servers: int, hosts: Sequence[Host], where: str = LISTED
) -> dict[str, str]:
    """Give every task of a trial a host, according to `PLACEMENT_RULE`.

    Args:
        nodes: tasks of the trial.
        parameter_servers: of these.
        hosts: in their order.
        where: place where the hosts were listed, for the error.

    Returns:
        Task -> name of its host.

    Raises:
        ConfigError: the hosts have fewer slots than the trial has tasks.
    """
    slots = [
        host.name for host in hosts for _ in range(nodes if host.slots is None else host.slots)
    ]
    if len(slots) < nodes:
        raise ConfigError(
            f"{nodes} nodes need {nodes} slots, but the hosts have {len(slots)}",
            where=where,
            remedy="add hosts, raise their slots, or lower nodes",
        )
    return dict(zip(task_names(nodes, parameter_servers), slots, strict=False))
