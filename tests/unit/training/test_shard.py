from __future__ import annotations

import pytest

from dnnbench.training.graph.shard import shard_sizes


@pytest.mark.parametrize(("parameters", "shards"), [(10, 1), (10, 3), (55_050, 4), (2, 3)])
def test_shards_differ_by_one_parameter_at_most(parameters: int, shards: int) -> None:
    sizes = shard_sizes(parameters, shards)
    assert sum(sizes) == parameters
    assert len(sizes) == shards
    assert max(sizes) - min(sizes) <= 1
