"""Memory that the roles of a trial need on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from dnnbench.settings.schema import Config

AGENT_BYTES: Final = 350_000_000
"""Of the libraries, which all roles share; see docs/performance.md, "Start-up, memory"."""
ROLE_BYTES: Final = 120_000_000
"""Of each role: 12 of them with their agent take 1,752 MB there with `mnist-dnn`."""


def check_memory(config: Config, has_bytes: int, where: str = "[sweep] nodes") -> None:
    """Refuse a sweep on this machine alone whose largest trial does not fit into its memory.

    Args:
        config: the settings.
        has_bytes: memory of this machine.
        where: origin of the node counts.

    Raises:
        ConfigError: it does not.
    """
    nodes = config.sweep.largest.nodes
    needs_bytes = AGENT_BYTES + nodes * ROLE_BYTES
    if not config.hosts and needs_bytes > has_bytes:
        most = max((has_bytes - AGENT_BYTES) // ROLE_BYTES, 0)
        raise ConfigError(
            f"expected at most {most:,} nodes on this machine, got {nodes:,}: each takes about "
            f"{ROLE_BYTES / 1e6:.0f} MB, all about {needs_bytes / 1e9:.1f} GB, and it has "
            f"{has_bytes / 1e9:.1f} GB",
            where=where,
            remedy="use fewer nodes, or list hosts",
        )
