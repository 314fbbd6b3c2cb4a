"""A shard's updates, run by TensorFlow on a parameter server, against the published formulas."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from support.tensorflow_child import in_child

from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.protocols.base import COUNT_STEP, make_shard
from dnnbench.training.roles.server import ReservedPort
from dnnbench.trial.spec import ModelSpec, ProtocolSpec

if TYPE_CHECKING:
    from collections.abc import Callable

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


class Rule(NamedTuple):
    """An update as the papers write it, in float64; what a wrong one has otherwise is a field.

    dc-sgd: Zheng et al., ICML 2017; Adagrad: Dean et al., NIPS 2012, without an epsilon.

    Attributes:
        rate, missed: factors of the learning rate and of now - pulled.
        power: of the gradient in the compensation.
        root: in the denominators.
        keeps: of the decay, what the mean square keeps.
        moves_pulled: whether the pulled parameters are changed, not those of now.
    """

    rate: float = 1.0
    missed: float = 1.0
    power: int = 2
    root: Callable[[Any], Any] = np.sqrt
    keeps: Callable[[float], float] = lambda m: m
    moves_pulled: bool = False


def deviation(
    order: ProtocolSpec, initial: Vector, pushes: list[Push], found: list[Applied], rule: Rule
) -> float:
    """Return the largest error of a parameter, in units of what rounding explains.

    Each update of the rule starts from the parameters that were found before it. Rounding to
    float32 is off by 2^-24 at most; an update is a dozen operations, and what it divides by is
    made of gradients that have been rounded, too.
    """
    before, worst = initial, 0.0
    mean_square, total, largest = (np.zeros_like(initial) for _ in range(3))
    for (gradient, pulled), applied in zip(pushes, found, strict=True):
        scale: Any = order.lambda0
        if order.compensation == "adaptive":
            m = rule.keeps(order.mean_square_decay)
            mean_square = m * mean_square + (1 - m) * gradient**2
            scale = order.lambda0 / rule.root(mean_square + order.epsilon)
        term = scale * gradient**rule.power * rule.missed * (before - pulled)
        if order.name != "dc-sgd":
            term = np.zeros_like(gradient)
        direction = gradient + term
        rate: Any = rule.rate * order.learning_rate
        if order.optimizer == "adagrad":
            total = total + direction**2
            rate = rate / rule.root(total)
        after = (pulled if rule.moves_pulled else before) - rate * direction
        largest = np.maximum(largest, np.abs(gradient) + np.abs(term))
        explained = 16 * 2**-24 * (np.abs(before) + rate * largest)
        worst = max(worst, float(np.max(np.abs(applied.parameters - after) / explained)))
        if applied.norms:  # squared, sums of SIZE terms: SIZE * 2^-24 = 6e-5
            assert applied.norms[1] == pytest.approx(float(gradient @ gradient), rel=1e-4)
            compensation = applied.norms[0]
            worst = max(worst, abs(compensation - float(term @ term)) / compensation / 1e-4)
        before = applied.parameters.astype(float)
    return worst


def some_pushes(initial: Vector, *, distance: float) -> list[Push]:
    """Draw gradients, and pulled parameters this far from the initial ones."""
    rng = np.random.default_rng(2017)
    return [
        Push(
            gradient=as_sent(rng.normal(0, 0.5, SIZE)),
            pulled=as_sent(initial + rng.normal(0, distance, SIZE)) if distance else initial,
        )
        for _ in range(UPDATES)
    ]


def as_sent(vector: Vector) -> Vector:
    """Round to float32, so that both sides compute with the same numbers."""
    return vector.astype(np.float32).astype(np.float64)


def some_initial() -> Vector:
    return as_sent(np.random.default_rng(4).normal(0, 0.1, SIZE))


@pytest.fixture(scope="module")
def initial() -> Vector:
    return some_initial()


@cache
def applied(order: ProtocolSpec) -> list[Applied]:
    initial = some_initial()
    return in_child(apply_on_parameter_server, order, initial, some_pushes(initial, distance=0.5))


@pytest.mark.parametrize(
    "order",
    [DOWNPOUR, ADAGRAD, CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD],
    ids=["downpour", "downpour-adagrad", "constant", "adaptive", "adaptive-adagrad"],
)
def test_updates_are_those_of_the_published_formulas(order: ProtocolSpec, initial: Vector) -> None:
    found = applied(order)
    assert deviation(order, initial, some_pushes(initial, distance=0.5), found, Rule()) < 1
    assert [a_push.updates_before for a_push in found] == list(range(UPDATES))
    assert [a_push.updates_after for a_push in found] == list(range(1, UPDATES + 1))
    assert [a_push.norms is None for a_push in found] == [order.name == "downpour"] * UPDATES


@pytest.mark.parametrize(
    ("wrong", "orders"),
    [
        (Rule(rate=1.001), [DOWNPOUR, ADAGRAD, CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD]),
        (Rule(missed=-1.0), [CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD]),
        (Rule(missed=0.0), [CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD]),
        (Rule(power=1), [CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD]),
        (Rule(root=lambda x: x), [ADAGRAD, ADAPTIVE, ADAPTIVE_ADAGRAD]),
        (Rule(keeps=lambda m: 1 - m), [ADAPTIVE, ADAPTIVE_ADAGRAD]),
        (Rule(moves_pulled=True), [DOWNPOUR, ADAGRAD, CONSTANT, ADAPTIVE, ADAPTIVE_ADAGRAD]),
    ],
    ids=[
        "learning rate",
        "pulled - now",
        "not compensated",
        "gradient not squared",
        "no root",
        "decay",
        "moves the pulled parameters",
    ],
)
def test_a_wrong_formula_would_be_noticed(
    wrong: Rule, orders: list[ProtocolSpec], initial: Vector
) -> None:
    pushes = some_pushes(initial, distance=0.5)
    for order in orders:
        assert deviation(order, initial, pushes, applied(order), wrong) > 5


def test_with_lambda_0_dc_sgd_is_downpour_to_the_bit() -> None:
    for compensated, downpour in zip(applied(UNCOMPENSATED), applied(DOWNPOUR), strict=True):
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
