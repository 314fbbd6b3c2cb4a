"""Checkpoints on disk, written and read by TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.tensorflow_child import in_child

from dnnbench.errors import HostError
from dnnbench.training.roles.checkpoints import Checkpoints

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("shard_0/parameters", "shard_0/momentum")


def write(directory: Path, *numbers: float) -> list[str]:
    """Write a checkpoint per number, which all its values are; return what is there then."""
    checkpoints = Checkpoints(directory)
    for number in numbers:
        checkpoints.write({name: np.full(1000, number, np.float32) for name in NAMES})
    return sorted(path.name for path in directory.iterdir())


def read(directory: Path) -> float:
    """Return the number of the checkpoint that is read."""
    values = Checkpoints(directory).read()
    assert set(values) == set(NAMES)
    (number,) = {float(value) for array in values.values() for value in array}
    return number


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "sweep" / "checkpoints" / "ps-0"


def test_the_newest_of_two_is_read_and_a_damaged_one_passed_over(directory: Path) -> None:
    directory.parent.parent.mkdir()
    assert in_child(write, directory, 1.0, 2.0, 3.0) == ["2", "3"]
    (directory / "4.new").mkdir()  # of a server that was killed while it wrote
    assert in_child(read, directory) == 3.0
    (directory / "3" / "shard.index").write_bytes(b"damaged")
    assert in_child(read, directory) == 2.0
    assert in_child(write, directory, 5.0) == ["3", "4"]
    assert in_child(read, directory) == 5.0


def test_without_one_that_can_be_read_nothing_is_initialized_instead(directory: Path) -> None:
    with pytest.raises(
        HostError, match=r"expected a checkpoint in .*, found none that can be read"
    ):
        in_child(read, directory)
    directory.parent.parent.mkdir()
    in_child(write, directory, 1.0)
    (directory / "1" / "shard.data-00000-of-00001").unlink()
    with pytest.raises(HostError, match="found none that can be read"):
        in_child(read, directory)


def test_the_directory_of_a_sweep_is_not_made_again(directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        in_child(write, directory, 1.0)
    assert not directory.parent.parent.exists()  # as for results that were deleted meanwhile
