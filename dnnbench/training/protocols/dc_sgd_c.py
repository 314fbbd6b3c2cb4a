"""Delay compensation with a constant λ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.training.graph.shard import ServerShard
from dnnbench.training.protocols.base import Applied, minus_squared_times

if TYPE_CHECKING:
    from dnnbench.training.graph.setting import StepSetting
    from dnnbench.training.protocols.base import Push


def make_shard(index: int, size: int, setting: StepSetting) -> ServerShard:
    """Return a shard; see :mod:`dnnbench.training.protocols.base`."""
    return ServerShard(index, size, setting, lambda: ConstantCompensation(setting.protocol.lambda0))


class ConstantCompensation:
    """DC-ASGD-c: λ g⊙g⊙(w - w_bak).

    Source: Zheng et al., Asynchronous Stochastic Gradient Descent with Delay Compensation, ICML
    2017, arXiv 1609.08326. ``w_bak`` is captured at this worker's pull, as published.
    """

    def __init__(self, lambda0: float) -> None:
        self.slots: dict[str, float] = {}
        self.factor: float | None = -lambda0

    def apply(self, push: Push) -> Applied:
        """See :class:`dnnbench.training.protocols.base.Rule`."""
        return Applied(push.gradient, minus_squared_times(push.gradient, push.now - push.pulled))
