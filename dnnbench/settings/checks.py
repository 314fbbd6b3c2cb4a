"""Check what one type cannot: names, and settings that must hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError, nearest
from dnnbench.trial.models import MODELS
from dnnbench.trial.protocols import parameter_servers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.settings.schema import Config, SweepConfig

FIRST_PORT, LAST_PORT = 1024, 65535
"""What a user who is not root may listen on."""


def check_model(name: str, where: str) -> None:
    """Refuse what no host can build; whether a host has a user's own module is for it to say."""
    module, colon, function = name.partition(":")
    parts = [*module.split("."), function]
    if name not in MODELS and not (colon and all(part.isidentifier() for part in parts)):
        raise ConfigError(
            f"there is no model {name!r}, expected {', '.join(MODELS)} or module:function",
            where=where,
            remedy=nearest(name, MODELS),
        )


def check_sweep(sweep: SweepConfig, origins: Mapping[str, str]) -> None:
    """Refuse lists that repeat a value, and node counts that leave no worker."""
    for key, values in (("nodes", sweep.nodes), ("protocols", sweep.protocols)):
        if len(set(values)) < len(values):
            where = origins[f"sweep.{key}"]
            raise ConfigError(f"[sweep] {key} names a value twice, got {list(values)}", where=where)
    most = max(parameter_servers_of(name, sweep.parameter_servers) for name in sweep.protocols)
    if min(sweep.nodes) <= most:
        nodes, servers = origins["sweep.nodes"], origins["sweep.parameter_servers"]
        raise ConfigError(
            f"[sweep] {min(sweep.nodes)} nodes leave no worker beside "
            f"parameter_servers = {sweep.parameter_servers}",
            where=servers if nodes == "default" else nodes,
            remedy="a trial needs at least parameter_servers + 1 nodes",
        )


def check_ports(config: Config, where: str) -> None:
    """Refuse a range of ports that is not one, or too small for the largest trial."""
    first, last = config.cluster.port_range
    most = max(config.sweep.nodes)
    problem = None
    if not FIRST_PORT <= first <= last <= LAST_PORT:
        problem = f"the first not above the last, both from {FIRST_PORT} to {LAST_PORT}"
    elif config.hosts and last - first + 1 < most:
        # Hosts may be one machine under several names: all tasks of a trial then share the range.
        problem = f"at least {most} ports, one for each node of the largest trial"
    if problem:
        raise ConfigError(f"[cluster] ports: expected {problem}, got {first}-{last}", where=where)
