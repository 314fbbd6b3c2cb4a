"""A shard's updates, run by TensorFlow on a parameter server, against the published formulas."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from support.tensorflow_child import in_child

from dnnbench.data.catalogue import SYNTHETIC_EXAMPLES
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.protocols.base import COUNT_STEP, make_shard
from dnnbench.training.roles.server import ReservedPort
from dnnbench.trial.spec import ModelSpec, ProtocolSpec

pytestmark = pytest.mark.tensorflow

Vector = np.ndarray[Any, np.dtype[np.float64]]

SIZE = 1000
UPDATES = 4
RATE = 0.3

DOWNPOUR = ProtocolSpec("downpour", learning_rate=RATE)
CONSTANT = ProtocolSpec("dc-sgd", learning_rate=RATE, compensation="constant", lambda0=0.7)
ADAPTIVE = ProtocolSpec(
    "dc-sgd", learning_rate=RATE, lambda0=2.0, mean_square_decay=0.9, epsilon=1e-3
)
ADAGRAD = ProtocolSpec("downpour", optimizer="adagrad", learning_rate=RATE)
ADAPTIVE_ADAGRAD = ProtocolSpec("dc-sgd", optimizer="adagrad", learning_rate=RATE, lambda0=2.0)
UNCOMPENSATED = ProtocolSpec("dc-sgd", learning_rate=RATE, lambda0=0.0)


class Push(NamedTuple):
    """A gradient, and the parameters that the worker had pulled for it."""

    gradient: Vector
    pulled: Vector


class Applied(NamedTuple):
    """What a push came to.

    Attributes:
        norms: squared, of the compensation and the gradient; None without a compensation.
    """

    updates_before: float
    norms: list[float] | None
    parameters: Any
    updates_after: float


def apply_on_parameter_server(
    order: ProtocolSpec, initial: Vector, pushes: list[Push]
) -> list[Applied]:
    """Apply pushes one after the other, on a TensorFlow server."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    reserved = ReservedPort()
    jobs = {"ps": [f"127.0.0.1:{reserved.number}"]}
    server = tf.distribute.Server(jobs, job_name="ps", task_index=0)
    del reserved
    setting = StepSetting(
        model=ModelSpec(),
        protocol=order,
        examples=SYNTHETIC_EXAMPLES,
        parameter_servers=1,
        batch_size=1,
        steps_per_run=1,
    )
    with tf.Graph().as_default():
        shard = make_shard(0, len(initial), setting)
        gradient = tf1.placeholder(tf.float32, [len(initial) + 1])
        pulled = tf1.placeholder(tf.float32, [len(initial) + 1])
        push = [part for part in shard.push(gradient, pulled, measure=True) if part is not None]
        pull = shard.pull()
        applied = []
        with tf1.Session(server.target) as session:
            session.run("shard_0/initialize", {"shard_0/initial:0": with_count(initial, 0)})
            for number, given in enumerate(pushes):
                feed = {
                    gradient: with_count(given.gradient, COUNT_STEP),
                    pulled: with_count(given.pulled, max(number - 2, 0)),
                }
                before, *norms = session.run(push, feed)
                *parameters, count = session.run(pull)
                known = norms[0].tolist() if norms else None
                applied.append(Applied(before.item(), known, np.array(parameters), float(count)))
    return applied


def with_count(vector: Vector, count: float) -> Any:
    return np.append(vector, count).astype(np.float32)


def expected(order: ProtocolSpec, initial: Vector, pushes: list[Push]) -> list[Applied]:
    """Return what the papers' formulas give, in float64.

    dc-sgd: Zheng et al., ICML 2017; Adagrad: Dean et al., NIPS 2012, without an epsilon.
    """
    now, mean_square, total = initial, np.zeros_like(initial), np.zeros_like(initial)
    applied = []
    for number, (gradient, pulled) in enumerate(pushes):
        scale: Any = order.lambda0
        if order.compensation == "adaptive":
            m = order.mean_square_decay
            mean_square = m * mean_square + (1 - m) * gradient**2
            scale = order.lambda0 / np.sqrt(mean_square + order.epsilon)
        term = scale * gradient**2 * (now - pulled) if order.name == "dc-sgd" else 0 * gradient
        direction = gradient + term
        rate: Any = order.learning_rate
        if order.optimizer == "adagrad":
            total = total + direction**2
            rate = order.learning_rate / np.sqrt(total)
        now = now - rate * direction
        norms = [float(term @ term), float(gradient @ gradient)]
        measured = norms if order.name == "dc-sgd" else None
        applied.append(Applied(number, measured, now, number + 1))
    return applied


def some_pushes(initial: Vector, *, distance: float) -> list[Push]:
    """Draw gradients, and pulled parameters this far from the initial ones."""
    rng = np.random.default_rng(2017)
    return [
        Push(
            gradient=rng.normal(0, 0.5, SIZE),
            pulled=initial + rng.normal(0, distance, SIZE) if distance else initial,
        )
        for _ in range(UPDATES)
    ]


@pytest.fixture(scope="module")
def initial() -> Vector:
    return np.random.default_rng(4).normal(0, 0.1, SIZE)


@pytest.mark.parametrize(
    "order",
    [DOWNPOUR, ADAGRAD, CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD],
    ids=["downpour", "downpour-adagrad", "constant", "adaptive", "adaptive-adagrad"],
)
def test_updates_are_those_of_the_published_formulas(order: ProtocolSpec, initial: Vector) -> None:
    pushes = some_pushes(initial, distance=0.5)
    found = in_child(apply_on_parameter_server, order, initial, pushes)
    for got, want in zip(found, expected(order, initial, pushes), strict=True):
        np.testing.assert_allclose(got.parameters, want.parameters, rtol=2e-5, atol=2e-6)
        assert (got.updates_before, got.updates_after) == (want.updates_before, want.updates_after)
        assert (got.norms is None) == (want.norms is None)
        if got.norms and want.norms:
            assert got.norms == pytest.approx(want.norms, rel=1e-4)


def test_the_formulas_differ_enough_for_the_test_above_to_tell_them_apart(initial: Vector) -> None:
    pushes = some_pushes(initial, distance=0.5)
    orders = [DOWNPOUR, ADAGRAD, CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD]
    ends = [expected(order, initial, pushes)[-1].parameters for order in orders]
    for i, one in enumerate(ends):
        for other in ends[i + 1 :]:
            assert np.median(np.abs(one - other)) > 1e-2


def test_with_lambda_0_dc_sgd_is_downpour_to_the_bit(initial: Vector) -> None:
    pushes = some_pushes(initial, distance=0.5)
    found = in_child(apply_on_parameter_server, UNCOMPENSATED, initial, pushes)
    plain = in_child(apply_on_parameter_server, DOWNPOUR, initial, pushes)
    for compensated, downpour in zip(found, plain, strict=True):
        np.testing.assert_array_equal(compensated.parameters, downpour.parameters)
        assert compensated.norms
        assert compensated.norms[0] == 0.0


@pytest.mark.parametrize("order", [CONSTANT, ADAPTIVE], ids=["constant", "adaptive"])
def test_nothing_is_compensated_only_where_nothing_was_missed(
    order: ProtocolSpec, initial: Vector
) -> None:
    pushes = some_pushes(initial, distance=0.0)
    first, *later = in_child(apply_on_parameter_server, order, initial, pushes)
    assert first.norms
    assert first.norms[0] == 0.0  # the parameters are still those that were pulled
    for applied in later:
        assert applied.norms
        assert applied.norms[0] > 1e-4 * applied.norms[1]


@pytest.mark.parametrize("order", [ADAGRAD, ADAPTIVE_ADAGRAD], ids=["plain", "adaptive"])
def test_adagrads_first_step_is_the_learning_rate_and_none_without_a_gradient(
    order: ProtocolSpec, initial: Vector
) -> None:
    gradient = np.repeat([1e-4, 0.0, -3.0, 0.0], SIZE // 4)
    found = in_child(apply_on_parameter_server, order, initial, [Push(gradient, initial)] * 2)
    first, second = found
    np.testing.assert_allclose(
        first.parameters, initial - RATE * np.sign(gradient), rtol=1e-5, atol=1e-6
    )
    still = gradient == 0
    np.testing.assert_array_equal(second.parameters[still], first.parameters[still])
