from __future__ import annotations

import numpy as np
import pytest

from dnnbench.training.roles.evaluation import chance_accuracy


def test_chance_is_the_most_frequent_class_and_three_standard_errors() -> None:
    mnist = np.repeat(np.arange(10), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    assert chance_accuracy(mnist) == pytest.approx(0.1135 + 3 * 0.003172, abs=1e-4)
    assert chance_accuracy(np.array([0, 1])) == 1.0  # two examples tell nothing
    assert chance_accuracy(np.zeros(5, np.uint8)) == 1.0
