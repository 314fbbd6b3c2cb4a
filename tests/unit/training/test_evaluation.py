from __future__ import annotations

import msgspec
import numpy as np
import pytest
from support.factories import make_order

from dnnbench.training.roles.evaluation import chance_accuracy
from dnnbench.training.roles.shares import steps_per_epoch, worker_examples
from dnnbench.trial.protocols import PROTOCOLS, parameter_servers_of
from dnnbench.trial.spec import ProtocolSpec


def test_chance_is_the_most_frequent_class_and_three_standard_errors() -> None:
    mnist = np.repeat(np.arange(10), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    assert chance_accuracy(mnist) == pytest.approx(0.1135 + 3 * 0.003172, abs=1e-4)
    assert chance_accuracy(np.array([0, 1])) == 1.0  # two examples tell nothing
    assert chance_accuracy(np.zeros(5, np.uint8)) == 1.0


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("epoch_definition", ["replicated", "sharded"])
def test_workers_take_equally_many_steps_where_they_must_and_else_all_they_can(
    name: str, epoch_definition: str
) -> None:
    protocol = ProtocolSpec(name)
    order = make_order(4, protocol, epoch_definition=epoch_definition, batch_size=4)
    spec = msgspec.structs.replace(order, parameter_servers=parameter_servers_of(name, 1))
    for examples in (25, 100, 101, 103):
        shares = [len(worker_examples(spec, n, examples)) for n in range(spec.workers)]
        steps = [steps_per_epoch(spec, share, examples) for share in shares]
        if PROTOCOLS[name].equal_steps:
            assert steps == [min(shares) // 4] * spec.workers
        else:
            assert steps == [share // 4 for share in shares]
