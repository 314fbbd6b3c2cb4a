"""Delay compensation of the kind that the settings name: ``dc-sgd-c`` or ``dc-sgd-a``.

The two have names of their own so that one sweep can hold both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.training.protocols import dc_sgd_a, dc_sgd_c

if TYPE_CHECKING:
    from dnnbench.training.graph.setting import StepSetting
    from dnnbench.training.graph.shard import ServerShard


def make_shard(index: int, size: int, setting: StepSetting) -> ServerShard:
    """Return a shard; see :mod:`dnnbench.training.protocols.base`."""
    if setting.protocol.compensation == "constant":
        return dc_sgd_c.make_shard(index, size, setting)
    return dc_sgd_a.make_shard(index, size, setting)
