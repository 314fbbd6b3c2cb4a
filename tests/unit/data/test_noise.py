"""Label noise: how much, where, and that it is recorded."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from dnnbench.data.load import load
from dnnbench.data.locate import locate
from dnnbench.data.noise import with_noise

LABELS = np.tile(np.arange(10, dtype=np.uint8), 1_000)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.333, 0.9])
def test_the_share_that_is_asked_for_is_replaced_by_other_classes(share: float) -> None:
    noisy = with_noise(LABELS, 10, share)
    changed = np.flatnonzero(noisy != LABELS)
    assert len(changed) == round(share * len(LABELS))
    assert noisy.dtype == LABELS.dtype
    assert set(noisy.tolist()) <= set(range(10))
    if share:  # every other class is as likely: 9 steps, each about a ninth
        steps = (noisy[changed].astype(int) - LABELS[changed]) % 10
        shares = np.bincount(steps, minlength=10)[1:] / len(changed)
        assert np.abs(shares - 1 / 9).max() < 0.04
        assert abs(changed.mean() / len(LABELS) - 0.5) < 0.05  # all over the set


def test_the_noise_is_the_same_on_every_machine() -> None:
    # Fails if the recipe, or what NumPy makes of it, changes: then results are not comparable.
    few = LABELS[:40]
    noisy = with_noise(few, 10, 0.2)
    assert np.flatnonzero(noisy != few).tolist() == [4, 14, 15, 16, 19, 28, 30, 37]
    assert noisy[noisy != few].tolist() == [6, 1, 0, 1, 7, 4, 2, 6]
    np.testing.assert_array_equal(with_noise(LABELS, 10, 0.3), with_noise(LABELS, 10, 0.3))


def test_more_noise_keeps_what_less_had_replaced() -> None:
    less, more = (with_noise(LABELS, 10, share) for share in (0.1, 0.2))
    replaced = less != LABELS
    np.testing.assert_array_equal(more[replaced], less[replaced])


def test_with_two_classes_a_replaced_label_is_the_other_one() -> None:
    labels = np.zeros(10, np.int32)
    assert with_noise(labels, 2, 0.5).sum() == 5


def test_only_training_labels_are_noisy_and_the_spec_tells() -> None:
    clean = locate("synthetic-mnist").order
    noisy = msgspec.structs.replace(clean, label_noise=0.1)
    plain, changed = load(clean), load(noisy)
    assert np.count_nonzero(plain.train_labels != changed.train_labels) == 5_500
    for before, after in zip(plain[2:6], changed[2:6], strict=True):
        np.testing.assert_array_equal(before, after)
    assert noisy != clean
    assert (clean.title, noisy.title) == ("synthetic-mnist", "synthetic-mnist, 10 % label noise")
    assert not changed.train_labels.flags.writeable
