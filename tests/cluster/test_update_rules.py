"""Update rules on real parameter servers, step by step, against formulas written in NumPy.

Workers are interleaved in a fixed order: a worker pulls, others push, then it pushes what it has
computed from the parameters that it pulled. The reference keeps its own float64 trajectory and its
own copy of what each worker pulled; it shares no code and no intermediate form with the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tensorflow_child import in_child

from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.graph.shard import shard_sizes
from dnnbench.training.protocols.base import COUNT_STEP, make_shard
from dnnbench.training.roles.server import ReservedPort
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import ModelSpec, ProtocolSpec

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[np.float64]]

RATE = 0.1
SERVERS = 3
ROUNDING = 2**-24

RULES = {
    "downpour": ProtocolSpec("downpour", learning_rate=RATE),
    "downpour-adagrad": ProtocolSpec("downpour", "adagrad", learning_rate=RATE),
    "staleness-aware": ProtocolSpec("staleness-aware", learning_rate=RATE),
    "dc-sgd-c": ProtocolSpec("dc-sgd-c", learning_rate=RATE, lambda0=0.7),
    "dc-sgd-c-adagrad": ProtocolSpec("dc-sgd-c", "adagrad", learning_rate=RATE, lambda0=0.7),
    "dc-sgd-a": ProtocolSpec("dc-sgd-a", learning_rate=RATE, mean_square_decay=0.9, epsilon=1e-3),
    "dc-sgd-a-adagrad": ProtocolSpec("dc-sgd-a", "adagrad", learning_rate=RATE, epsilon=1e-3),
    "downpour-momentum": ProtocolSpec("downpour", learning_rate=RATE, momentum=0.9),
    "staleness-aware-momentum": ProtocolSpec("staleness-aware", learning_rate=RATE, momentum=0.9),
    "dc-sgd-c-momentum": ProtocolSpec("dc-sgd-c", learning_rate=RATE, lambda0=0.7, momentum=0.9),
    "dc-sgd-a-momentum": ProtocolSpec("dc-sgd-a", learning_rate=RATE, epsilon=1e-3, momentum=0.5),
    "scheduled": ProtocolSpec("downpour", learning_rate=RATE, rate_decay_epochs=(2,)),
    "dc-sgd-c-scheduled": ProtocolSpec(
        "dc-sgd-c", learning_rate=RATE, lambda0=0.7, momentum=0.9, rate_decay_epochs=(2,)
    ),
    "dc-sgd-a-scheduled": ProtocolSpec(
        "dc-sgd-a", "adagrad", learning_rate=RATE, epsilon=1e-3, rate_decay_epochs=(2,)
    ),
    "dc-sgd": ProtocolSpec("dc-sgd", learning_rate=RATE, epsilon=1e-3),
    "dc-sgd-constant": ProtocolSpec(
        "dc-sgd", learning_rate=RATE, compensation="constant", lambda0=0.7
    ),
}

DECAYED_AFTER = 4
"""Pushes after which a scheduled learning rate falls."""
PULL, PUSH = "pull", "push"
INTERLEAVED = [
    *((PULL, 0), (PULL, 1), (PUSH, 1), (PULL, 2), (PUSH, 0), (PULL, 0), (PUSH, 0), (PULL, 1)),
    *((PULL, 0), (PUSH, 1), (PUSH, 2), (PULL, 1), (PUSH, 0), (PULL, 2), (PULL, 0), (PUSH, 0)),
    *((PUSH, 1), (PUSH, 2)),
]
"""What workers do, in this order: three of them, with staleness from 0 to 3."""


class Case(NamedTuple):
    """A trial in small.

    Attributes:
        initial: all parameters.
        order: of pulls and pushes, each of a worker that has pulled before it pushes.
        gradients: one for each push.
    """

    spec: ProtocolSpec
    initial: Array
    order: list[tuple[str, int]]
    gradients: list[Array]
    parameter_servers: int = 1


class Seen(NamedTuple):
    """What each push left.

    Attributes:
        parameters: after each push.
        staleness: of each push, by shard.
        counts: of updates by shard, at the end.
    """

    parameters: list[Any]
    staleness: list[list[float]]
    counts: list[float]


class Reference:
    """The update rules as the papers write them, in float64, on all parameters at once."""

    def __init__(self, spec: ProtocolSpec, initial: Array) -> None:
        self.spec = spec
        self.w = initial.copy()
        self.updates = 0
        self.w_bak: dict[int, tuple[Array, int]] = {}
        self.mean_square = np.zeros_like(initial)
        self.sum_of_squares = np.zeros_like(initial)
        self.velocity = np.zeros_like(initial)

    def pull(self, worker: int) -> None:
        self.w_bak[worker] = self.w.copy(), self.updates

    def push(self, worker: int, gradient: Array) -> int:
        """Apply a gradient; return its staleness."""
        spec = self.spec
        pulled, updates = self.w_bak[worker]
        staleness = self.updates - updates
        direction, rate = gradient.copy(), np.full_like(gradient, spec.learning_rate)
        kind = {"dc-sgd": spec.compensation, "dc-sgd-c": "constant", "dc-sgd-a": "adaptive"}
        if spec.name in kind:
            scale: Any = spec.lambda0
            if kind[spec.name] == "adaptive":
                m = spec.mean_square_decay
                self.mean_square = m * self.mean_square + (1 - m) * gradient**2
                scale = spec.lambda0 / np.sqrt(self.mean_square + spec.epsilon)
            direction += scale * gradient * gradient * (self.w - pulled)
        if spec.name == "staleness-aware" and staleness > 0:
            rate /= staleness
        if spec.optimizer == "adagrad":
            self.sum_of_squares += direction**2
            rate /= np.sqrt(self.sum_of_squares)
        self.velocity = spec.momentum * self.velocity - rate * direction
        epoch = 1 if self.updates < DECAYED_AFTER else 2
        factor = spec.rate_decay if epoch in spec.rate_decay_epochs else 1.0
        self.w = self.w + factor * self.velocity
        self.updates += 1
        return staleness


class Operations(NamedTuple):
    """Of every shard: its pull, its push, and what to feed to the push."""

    pull: list[Any]
    push: list[Any]
    gradients: list[Any]
    pulled: list[Any]


class Servers:
    """Parameter servers in this process; use only in a child."""

    def __init__(self) -> None:
        import tensorflow as tf

        reserved = [ReservedPort() for _ in range(SERVERS)]
        jobs = {"ps": [f"127.0.0.1:{port.number}" for port in reserved]}
        self._servers = [tf.distribute.Server(jobs, "ps", n) for n in range(SERVERS)]
        self._cases = 0

    def run(self, case: Case) -> Seen:
        """Carry out a case on shards that nobody used before."""
        import tensorflow as tf

        tf1 = tf.compat.v1
        self._cases += 1
        setting = StepSetting(
            model=ModelSpec(),
            protocol=case.spec,
            examples=SYNTHETIC_EXAMPLES,
            parameter_servers=case.parameter_servers,
            batch_size=1,
            steps_per_run=1,
        )
        sizes = shard_sizes(len(case.initial), case.parameter_servers)
        ends = np.cumsum(sizes)[:-1]
        graph = tf.Graph()
        with graph.as_default(), graph.container(f"case_{self._cases}"):
            shards = [make_shard(n, size, setting) for n, size in enumerate(sizes)]
            given = [tf1.placeholder(tf.float32, [size + 1]) for size in sizes]
            held = [tf1.placeholder(tf.float32, [size + 1]) for size in sizes]
            pull = [shard.pull() for shard in shards]
            push = [
                shard.push(gradient, pulled, measure=False)[0]
                for shard, gradient, pulled in zip(shards, given, held, strict=True)
            ]
            with tf1.Session(self._servers[0].target) as session:
                for n, part in enumerate(np.split(case.initial, ends)):
                    feed = {f"shard_{n}/initial:0": np.append(part, 0).astype(np.float32)}
                    session.run(f"shard_{n}/initialize", feed)
                return play(session, case, Operations(pull, push, given, held))


def play(session: Any, case: Case, operations: Operations) -> Seen:
    pull, push, given, held = operations
    ends = np.cumsum([tensor.shape[0] - 1 for tensor in given])[:-1]
    pulled: dict[int, list[Any]] = {}
    gradients = iter(case.gradients)
    parameters: list[Any] = []
    staleness: list[list[float]] = []
    now = session.run(pull)
    for what, worker in case.order:
        if what == PULL:
            pulled[worker] = session.run(pull)
            continue
        parts = np.split(next(gradients), ends)
        feed = dict(zip(held, pulled[worker], strict=True))
        for tensor, part in zip(given, parts, strict=True):
            feed[tensor] = np.append(part, COUNT_STEP).astype(np.float32)
        if case.spec.is_scheduled and len(parameters) == DECAYED_AFTER:
            for n in range(len(given)):
                factor = {f"shard_{n}/given_rate_factor:0": case.spec.rate_decay}
                session.run(f"shard_{n}/set_rate_factor", factor)
        before = session.run(push, feed)
        staleness.append(
            [float(at[0] - of[-1]) for at, of in zip(before, pulled[worker], strict=True)]
        )
        now = session.run(pull)
        parameters.append(np.concatenate([shard[:-1] for shard in now]))
    return Seen(parameters, staleness, [float(shard[-1]) for shard in now])


def as_sent(vector: Array) -> Array:
    """Round to float32, so that both sides compute with the same numbers."""
    return vector.astype(np.float32).astype(np.float64)


def some_case(
    spec: ProtocolSpec,
    *,
    size: int = 101,
    parameter_servers: int = 1,
    order: list[tuple[str, int]] | None = None,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng(seed)
    order = INTERLEAVED if order is None else order
    pushes = sum(what == PUSH for what, _ in order)
    return Case(
        spec,
        as_sent(rng.normal(0, 0.5, size)),
        order,
        [as_sent(rng.normal(0, 1.0, size)) for _ in range(pushes)],
        parameter_servers,
    )


def deviation(case: Case, seen: Seen) -> float:
    """Return the largest error of a parameter after any push, in units of what rounding explains.

    An update is two dozen operations, each off by 2^-24 of its largest operand at most, and later
    updates carry the errors of earlier ones.
    """
    reference, worst = Reference(case.spec, case.initial), 0.0
    gradients, pushes = iter(case.gradients), 0
    for what, worker in case.order:
        if what == PULL:
            reference.pull(worker)
            continue
        staleness = reference.push(worker, next(gradients))
        assert seen.staleness[pushes] == [staleness] * case.parameter_servers
        found = seen.parameters[pushes]
        pushes += 1
        explained = 24 * ROUNDING * pushes * max(1.0, float(np.abs(reference.w).max()))
        worst = max(worst, float(np.abs(found - reference.w).max()) / explained)
    assert seen.counts == [pushes] * case.parameter_servers
    return worst


def run_cases(cases: list[Case]) -> list[Seen]:
    servers = Servers()
    return [servers.run(case) for case in cases]


def test_every_asynchronous_protocol_of_the_table_has_its_rule_here() -> None:
    on_servers = (p for p in PROTOCOLS.values() if p.needs_parameter_server)
    assert {spec.name for spec in RULES.values()} == {
        p.name
        for p in on_servers
        if not p.synchronous  # see test_sync
    }


def test_interleaved_updates_are_those_of_the_formulas_on_one_and_on_several_shards() -> None:
    cases = [
        some_case(spec, parameter_servers=servers) for spec in RULES.values() for servers in (1, 3)
    ]
    for case, seen in zip(cases, in_child(run_cases, cases), strict=True):
        assert deviation(case, seen) < 1, case.spec
        assert {late for late, *_ in seen.staleness} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("staleness-aware", "downpour"),
        ("dc-sgd-c", "downpour"),
        ("dc-sgd-c", "dc-sgd-a"),
        ("dc-sgd-a", "dc-sgd-a-adagrad"),
        ("dc-sgd-c-momentum", "downpour-momentum"),
        ("dc-sgd-c-momentum", "dc-sgd-c"),
        ("scheduled", "downpour"),
    ],
)
def test_the_updates_of_another_rule_would_be_noticed(right: str, wrong: str) -> None:
    case = some_case(RULES[right])
    (seen,) = in_child(run_cases, [case])
    assert deviation(case._replace(spec=RULES[wrong]), seen) > 1000


ALONE = [(what, 0) for _ in range(6) for what in (PULL, PUSH)]


@pytest.mark.parametrize(
    ("order", "like_downpour"),
    [
        (INTERLEAVED, ("dc-sgd", "dc-sgd-c", "dc-sgd-a")),
        (ALONE, ("dc-sgd", "dc-sgd-c", "dc-sgd-a", "staleness-aware")),
    ],
    ids=["lambda-0", "staleness-0"],
)
def test_what_changes_nothing_gives_the_bits_of_downpour(
    order: list[tuple[str, int]], like_downpour: tuple[str, ...]
) -> None:
    lambda0 = 0.0 if order is INTERLEAVED else 0.7
    specs = [
        ProtocolSpec(name, optimizer, learning_rate=RATE, lambda0=lambda0, momentum=momentum)
        for optimizer, momentum in (("sgd", 0.0), ("adagrad", 0.0), ("sgd", 0.9))
        for name in ("downpour", *like_downpour)
    ]
    found = in_child(run_cases, [some_case(spec, order=order) for spec in specs])
    each = 1 + len(like_downpour)
    for first in range(0, len(found), each):
        downpour, *others = found[first : first + each]
        for other in others:
            np.testing.assert_array_equal(other.parameters, downpour.parameters)
            assert other.staleness == downpour.staleness


@st.composite
def cases(draw: Callable[[Any], Any]) -> Case:
    """Any rule, with any of its options, over any shapes, shards and interleaving."""
    spec = draw(st.sampled_from(list(RULES.values())))
    spec = ProtocolSpec(
        spec.name,
        spec.optimizer,
        learning_rate=draw(st.floats(1e-3, 0.5)),
        compensation=spec.compensation,
        lambda0=draw(st.floats(0.0, 2.0)),
        mean_square_decay=draw(st.floats(0.0, 0.99)),
        epsilon=draw(st.floats(1e-4, 1.0)),
        momentum=draw(st.floats(0.0, 0.95)) if spec.optimizer == "sgd" else 0.0,
        rate_decay_epochs=draw(st.sampled_from([(), (2,)])),
        rate_decay=draw(st.floats(0.01, 1.0)),
    )
    workers = draw(st.integers(1, 4))
    order = [(PULL, worker) for worker in range(workers)]
    for worker in draw(st.lists(st.integers(0, workers - 1), min_size=1, max_size=10)):
        order += [(PUSH, worker), (PULL, worker)]
    servers = draw(st.integers(1, SERVERS))
    size = draw(st.integers(servers, 40))
    return some_case(
        spec, size=size, parameter_servers=servers, order=order, seed=draw(st.integers(0, 1000))
    )


def check_any_cases() -> None:
    servers = Servers()

    @settings(max_examples=50, deadline=None, derandomize=True, database=None)
    @given(cases())
    def check(case: Case) -> None:
        assert deviation(case, servers.run(case)) < 1

    check()


def test_any_interleaving_of_any_shapes_and_options_is_that_of_the_formulas() -> None:
    in_child(check_any_cases)
