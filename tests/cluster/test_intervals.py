"""Downpour with n_fetch and n_push on real parameter servers, against the paper's pseudo-code.

Several workers, each a TensorFlow server with a session of its own, take their steps one at a time
in a fixed order: a worker waits for a token between its pull and its gradient. The reference is
Algorithm 1.1 of Dean et al., NIPS 2012, in float64; it shares no code with the graph.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tensorflow_child import in_child

from dnnbench.analysis.trial_figures import measure
from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.errors import ConfigError
from dnnbench.training.graph.exchange import (
    INITIALIZE_ACCRUED,
    Exchange,
    IntervalExchange,
    make_exchange,
)
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.graph.shard import shard_sizes
from dnnbench.training.protocols.base import COUNT_STEP, make_shard
from dnnbench.training.roles.server import ReservedPort
from dnnbench.trial.protocols import PROTOCOLS, find_protocol, why_every_step
from dnnbench.trial.spec import ModelSpec, ProtocolSpec, whole_intervals

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.real_cluster import Cluster as RealCluster

Array = np.ndarray[Any, np.dtype[np.float64]]

SERVERS = WORKERS = 3
ROUNDING = 2**-24
TIMEOUT_MS = 30_000
DECAYED_AFTER = 3
"""Updates after which a scheduled learning rate falls."""

RULES = {
    "every-step": ProtocolSpec("downpour", learning_rate=0.1),
    "local": ProtocolSpec("downpour", learning_rate=0.1, n_fetch=4),
    "accrued": ProtocolSpec("downpour", learning_rate=0.1, n_push=3),
    "equal": ProtocolSpec("downpour", learning_rate=0.05, n_fetch=3, n_push=3),
    "unequal": ProtocolSpec("downpour", learning_rate=0.05, n_fetch=2, n_push=3),
    "two-rates": ProtocolSpec("downpour", learning_rate=0.05, local_rate=0.2, n_fetch=4, n_push=2),
    "adagrad": ProtocolSpec("downpour", "adagrad", learning_rate=0.05, n_fetch=2, n_push=4),
    "momentum": ProtocolSpec("downpour", learning_rate=0.03, momentum=0.8, n_fetch=3, n_push=2),
    "scheduled": ProtocolSpec(
        "downpour", learning_rate=0.1, n_fetch=3, n_push=3, rate_decay_epochs=(2,)
    ),
}


class Case(NamedTuple):
    """A trial in small: the gradient of a step is ``curvature * (w - target)``.

    Attributes:
        order: of workers, each of which takes its next step, or flushes after its last one.
        steps: of each worker.
        curvature, target: by worker, [steps, size].
    """

    spec: ProtocolSpec
    initial: Array
    order: list[int]
    steps: int
    curvature: Array
    target: Array
    parameter_servers: int = 1
    steps_per_run: int = 4


class Seen(NamedTuple):
    """What came of a case.

    Attributes:
        parameters: after each push.
        staleness: by worker, of each of its pushes, by shard.
        counts: of updates by shard, at the end.
    """

    parameters: list[Any]
    staleness: list[list[list[int]]]
    counts: list[float]


class Server:
    """The parameter server: SGD, with momentum, or Adagrad without an epsilon."""

    def __init__(self, spec: ProtocolSpec, initial: Array) -> None:
        self.spec, self.w, self.updates = spec, initial.copy(), 0
        self.velocity = np.zeros_like(initial)
        self.sum_of_squares = np.zeros_like(initial)

    @property
    def factor(self) -> float:
        is_late = bool(self.spec.rate_decay_epochs) and self.updates >= DECAYED_AFTER
        return self.spec.rate_decay if is_late else 1.0

    def push(self, gradient: Array) -> None:
        direction = gradient
        if self.spec.optimizer == "adagrad":
            self.sum_of_squares += gradient**2
            direction = gradient / np.sqrt(self.sum_of_squares)
        self.velocity = self.spec.momentum * self.velocity - self.spec.learning_rate * direction
        self.w = self.w + self.factor * self.velocity
        self.updates += 1


class Client:
    """DOWNPOURSGDCLIENT(alpha, n_fetch, n_push) of Algorithm 1.1, and a flush after the last step.

    Besides, the updates of others that the oldest of its accrued gradients does not know.
    """

    def __init__(self, case: Case, worker: int, server: Server) -> None:
        self.case, self.spec, self.server = case, case.spec, server
        self.curvature, self.target = case.curvature[worker], case.target[worker]
        self.step = 0
        self.accrued: Array = np.zeros_like(case.initial)
        self.missed: list[int] = []  # by accrued gradient, updates of others since its pull
        self.since_pull = 0
        self.fetch()

    def fetch(self) -> None:
        if self.step < self.case.steps and self.step % self.spec.n_fetch == 0:
            self.parameters = self.server.w.copy()
            self.factor = self.server.factor
            self.since_pull = 0

    def noticed(self) -> None:
        """Another worker has pushed."""
        self.since_pull += 1
        self.missed = [missed + 1 for missed in self.missed]

    def turn(self) -> int | None:
        """Take a step, or flush; return the staleness of the push, None without one."""
        if self.step == self.case.steps:
            return self.push() if self.missed else None
        gradient = self.curvature[self.step] * (self.parameters - self.target[self.step])
        self.accrued = self.accrued + gradient
        self.missed.append(self.since_pull)
        rate = self.spec.learning_rate if self.spec.local_rate is None else self.spec.local_rate
        self.parameters = self.parameters - self.factor * rate * gradient
        staleness = self.push() if self.step % self.spec.n_push == 0 else None
        self.step += 1
        return staleness

    def push(self) -> int:
        self.server.push(self.accrued)
        self.accrued = np.zeros_like(self.accrued)
        staleness = max(self.missed)
        self.missed = []
        return staleness


def reference(case: Case) -> Seen:
    """Carry out a case as the paper has it."""
    server = Server(case.spec, case.initial)
    clients = [Client(case, worker, server) for worker in range(WORKERS)]
    parameters: list[Any] = []
    staleness: list[list[list[int]]] = [[] for _ in clients]
    for worker in case.order:
        late = clients[worker].turn()
        if late is not None:
            parameters.append(server.w.copy())
            staleness[worker].append([late] * case.parameter_servers)
            for other, client in enumerate(clients):
                if other != worker:
                    client.noticed()
        clients[worker].fetch()
    return Seen(parameters, staleness, [float(server.updates)] * case.parameter_servers)


class Watched:
    """A shard that tells the parameters after each push, and goes on when it is told to."""

    def __init__(self, index: int, size: int, setting: StepSetting) -> None:
        import tensorflow as tf

        self._shard: Any = make_shard(index, size, setting)
        with tf.compat.v1.device(self._shard.device):
            self._notes = tf.queue.FIFOQueue(-1, [tf.float32], shared_name=f"notes_{index}")
            self._resume = tf.queue.FIFOQueue(-1, [tf.int32], shared_name=f"resume_{index}")
            self.note, self.resume = self._notes.dequeue(), self._resume.enqueue(0)
            self.notes_left = self._notes.size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def push(self, gradient: Any, pulled: Any, *, measure: bool) -> tuple[Any, None]:
        import tensorflow as tf

        applied_at, _ = self._shard.push(gradient, pulled, measure=measure)
        with tf.compat.v1.device(self._shard.device), tf.control_dependencies([applied_at]):
            noted = self._notes.enqueue(self._shard.pull())
            with tf.control_dependencies([noted]):
                resumed = self._resume.dequeue()
            with tf.control_dependencies([resumed]):
                return tf.identity(applied_at), None


class Graph:
    """Unrolled steps as every worker runs them, with a token before each gradient."""

    def __init__(self, case: Case, form: Callable[..., Exchange]) -> None:
        import tensorflow as tf

        tf1 = tf.compat.v1
        spec, servers = case.spec, case.parameter_servers
        self.run_steps = whole_intervals(case.steps_per_run, spec.n_fetch, spec.n_push)
        setting = StepSetting(
            model=ModelSpec(),
            protocol=spec,
            examples=SYNTHETIC_EXAMPLES,
            parameter_servers=servers,
            batch_size=1,
            steps_per_run=self.run_steps,
        )
        sizes = shard_sizes(len(case.initial), servers)
        self.shards = [Watched(n, size, setting) for n, size in enumerate(sizes)]
        with tf1.device("/job:worker"):
            shape = [self.run_steps, len(case.initial)]
            self.curvature, self.target = (tf1.placeholder(tf.float32, shape) for _ in range(2))
            arrivals, tokens = (
                tf.queue.FIFOQueue(-1, [tf.int32], shared_name=name)
                for name in ("arrivals", "tokens")
            )
            self.arrived, self.give = arrivals.dequeue(), tokens.enqueue(0)
        exchange = form(self.shards, sizes, setting)
        self.staleness, self.keep = [], []
        for step in range(self.run_steps):
            parameters = exchange.pull()
            with tf1.device("/job:worker"):
                with tf.control_dependencies(parameters):
                    arrived = arrivals.enqueue(0)
                with tf.control_dependencies([arrived]):
                    token = tokens.dequeue()
                curvature, target = (
                    tf.split(fed[step], sizes) for fed in (self.curvature, self.target)
                )
                with tf.control_dependencies([token]):
                    gradients = [
                        tf.concat([c * (w[:-1] - t), [COUNT_STEP]], 0)
                        for c, w, t in zip(curvature, parameters, target, strict=True)
                    ]
            exchange.push(gradients, measure=False)
            self.staleness.append(exchange.staleness())
            self.keep.append(exchange.keep())
        exchange.add_flush()
        self.flush = exchange.flush
        self.value = [shard.pull() for shard in self.shards]


class Servers:
    """Parameter servers and workers in this process; use only in a child."""

    def __init__(self) -> None:
        import tensorflow as tf

        reserved = [ReservedPort() for _ in range(SERVERS + WORKERS)]
        addresses = [f"127.0.0.1:{port.number}" for port in reserved]
        jobs = {"ps": addresses[:SERVERS], "worker": addresses[SERVERS:]}
        self._servers = [tf.distribute.Server(jobs, "ps", n) for n in range(SERVERS)]
        self._workers = [tf.distribute.Server(jobs, "worker", n) for n in range(WORKERS)]
        self._cases = 0

    def run(self, case: Case, form: Callable[..., Exchange] = make_exchange) -> Seen:
        """Carry out a case on shards that nobody used before."""
        import tensorflow as tf

        tf1 = tf.compat.v1
        self._cases += 1
        with tf.Graph().as_default() as graph, graph.container(f"case{self._cases}"):
            unrolled = Graph(case, form)
        sessions = [
            tf1.Session(
                server.target,
                graph=graph,
                config=tf1.ConfigProto(
                    device_filters=["/job:ps", f"/job:worker/task:{n}"],
                    operation_timeout_in_ms=TIMEOUT_MS,
                ),
            )
            for n, server in enumerate(self._workers)
        ]
        ends = np.cumsum(shard_sizes(len(case.initial), case.parameter_servers))[:-1]
        for n, part in enumerate(np.split(case.initial, ends)):
            fed = {f"shard_{n}/initial:0": np.append(part, 0).astype(np.float32)}
            sessions[0].run(f"shard_{n}/initialize", fed)
        try:
            return play(case, unrolled, sessions)
        finally:
            for session in sessions:
                session.close()


class Worker(threading.Thread):
    """Runs its steps, several per ``session.run``, and flushes when it is told to."""

    def __init__(self, case: Case, unrolled: Graph, session: Any, worker: int) -> None:
        super().__init__(daemon=True)
        self.staleness: list[list[int]] = []
        self.may_flush = threading.Event()
        self.error: BaseException | None = None
        self._case, self._graph, self._session, self._worker = case, unrolled, session, worker

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised again where the thread is joined
            self.error = error

    def _run(self) -> None:
        case, graph, session = self._case, self._graph, self._session
        if graph.flush:
            session.run(INITIALIZE_ACCRUED)
        for first in range(0, case.steps, graph.run_steps):
            steps = min(graph.run_steps, case.steps - first)
            part = slice(first, first + steps)
            fed = {
                placeholder: np.resize(values[self._worker, part], placeholder.shape)
                for placeholder, values in (
                    (graph.curvature, case.curvature),
                    (graph.target, case.target),
                )
            }
            late, _ = session.run((graph.staleness[steps - 1], graph.keep[steps - 1]), fed)
            self._add(late)
        assert self.may_flush.wait(TIMEOUT_MS / 1000)
        if (steps - 1) % case.spec.n_push:
            self._add(session.run(graph.flush))

    def _add(self, late: list[Any]) -> None:
        self.staleness += np.stack(late, axis=1).astype(int).tolist()

    def end(self) -> None:
        self.join(TIMEOUT_MS / 1000)
        if self.error:
            raise self.error
        assert not self.is_alive()


def play(case: Case, unrolled: Graph, sessions: list[Any]) -> Seen:
    """Let the workers take turns; what a push leaves is read before anybody goes on."""
    workers = [Worker(case, unrolled, session, n) for n, session in enumerate(sessions)]
    n_push = case.spec.n_push
    pushes = [step % n_push == 0 for step in range(case.steps)] + [(case.steps - 1) % n_push > 0]
    turns = [0] * WORKERS
    parameters: list[Any] = []
    for worker, session in zip(workers, sessions, strict=True):
        worker.start()
        session.run(unrolled.arrived)
    for n in case.order:
        turn, session = turns[n], sessions[n]
        turns[n] += 1
        if turn == case.steps:
            workers[n].may_flush.set()
        else:
            session.run(unrolled.give)
        if pushes[turn]:
            notes = [session.run(shard.note)[:-1] for shard in unrolled.shards]
            parameters.append(np.concatenate(notes))
            if case.spec.rate_decay_epochs and len(parameters) == DECAYED_AFTER:
                for shard in range(case.parameter_servers):
                    factor = {f"shard_{shard}/given_rate_factor:0": case.spec.rate_decay}
                    session.run(f"shard_{shard}/set_rate_factor", factor)
            session.run([shard.resume for shard in unrolled.shards])
        if turn + 1 < case.steps:
            session.run(unrolled.arrived)
    for worker in workers:
        worker.end()
    unread = sessions[0].run([shard.notes_left for shard in unrolled.shards])
    assert unread == [0] * case.parameter_servers  # no push but those expected
    counts = [float(part[-1]) for part in sessions[0].run(unrolled.value)]
    return Seen(parameters, [worker.staleness for worker in workers], counts)


def as_sent(values: Array) -> Array:
    """Round to float32, so that both sides compute with the same numbers."""
    return values.astype(np.float32).astype(np.float64)


def some_case(
    spec: ProtocolSpec, *, steps: int = 7, size: int = 20, seed: int = 0, **changes: Any
) -> Case:
    """Return a case in which workers come by at random; no gradient comes near zero."""
    rng = np.random.default_rng(seed)
    shape = (WORKERS, steps, size)
    order = rng.permutation(np.repeat(np.arange(WORKERS), steps + 1)).tolist()
    case = Case(
        spec,
        as_sent(rng.normal(0, 0.5, size)),
        order,
        steps,
        as_sent(rng.uniform(0.1, 0.5, shape)),
        as_sent(rng.choice([-1, 1], size) * rng.uniform(4, 6, shape)),
    )
    return case._replace(**changes)


def deviation(case: Case, seen: Seen) -> float:
    """Return the largest error of a parameter after any push, in units of what rounding explains.

    A push carries up to ``n_push`` gradients, each of a few operations, off by 2^-24 of the largest
    operand at most; later updates carry the errors of earlier ones.
    """
    expected = reference(case)
    assert len(seen.parameters) == len(expected.parameters)
    worst, steps = 0.0, 0
    for found, wanted in zip(seen.parameters, expected.parameters, strict=True):
        steps += case.spec.n_push
        explained = 6 * ROUNDING * steps * max(1.0, float(np.abs(wanted).max()))
        worst = max(worst, float(np.abs(found - wanted).max()) / explained)
    return worst


def run_cases(cases: list[Case]) -> list[Seen]:
    servers = Servers()
    return [servers.run(case) for case in cases]


@cache
def all_cases(parameter_servers: int) -> dict[str, tuple[Case, Seen]]:
    """Return every rule's case with what came of it, run once."""
    cases = [some_case(spec, parameter_servers=parameter_servers) for spec in RULES.values()]
    seen = in_child(run_cases, cases)
    return dict(zip(RULES, zip(cases, seen, strict=True), strict=True))


def test_a_protocol_has_its_intervals_here_or_a_reason_against_them() -> None:
    with_intervals = {name for name in PROTOCOLS if not why_every_step(name)}
    assert {spec.name for spec in RULES.values()} == {
        name for name in with_intervals if find_protocol(name).needs_parameter_server
    }


@pytest.mark.parametrize("parameter_servers", [1, 3])
def test_interleaved_workers_with_intervals_follow_the_papers_algorithm(
    parameter_servers: int,
) -> None:
    for case, seen in all_cases(parameter_servers).values():
        expected = reference(case)
        assert deviation(case, seen) < 1, case.spec
        assert seen.staleness == expected.staleness, case.spec
        assert seen.counts == expected.counts
        assert [len(late) for late in seen.staleness] == [case.spec.pushes(case.steps)] * WORKERS


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("local", {"n_fetch": 1}),
        ("local", {"n_fetch": 2}),
        ("local", {"local_rate": 1e-6}),
        ("two-rates", {"local_rate": None}),
        ("adagrad", {"optimizer": "sgd"}),
        ("scheduled", {"rate_decay": 0.5}),
        ("unequal", {"n_fetch": 3}),
    ],
)
def test_the_updates_of_another_rule_would_be_noticed(right: str, wrong: dict[str, Any]) -> None:
    case, seen = all_cases(1)[right]
    other = case._replace(spec=msgspec.structs.replace(case.spec, **wrong))
    assert deviation(other, seen) > 1000


def in_both_forms(cases: list[Case]) -> list[tuple[Seen, Seen]]:
    servers = Servers()
    return [(servers.run(case), servers.run(case, IntervalExchange)) for case in cases]


def test_intervals_of_one_step_give_the_bits_of_every_step() -> None:
    specs = [RULES["every-step"], msgspec.structs.replace(RULES["adagrad"], n_fetch=1, n_push=1)]
    cases = [some_case(spec, parameter_servers=2) for spec in specs]
    for plain, intervals in in_child(in_both_forms, cases):
        np.testing.assert_array_equal(plain.parameters, intervals.parameters)
        assert plain.staleness == intervals.staleness


def all_chosen(specs: list[ProtocolSpec]) -> list[str]:
    return [chosen(spec) for spec in specs]


def chosen(spec: ProtocolSpec) -> str:
    """Return the name of the exchange that a worker of this protocol has, or its refusal."""
    import tensorflow as tf

    setting = StepSetting(
        model=ModelSpec(),
        protocol=spec,
        examples=SYNTHETIC_EXAMPLES,
        parameter_servers=1,
        batch_size=1,
        steps_per_run=1,
        workers=2,
    )
    with tf.Graph().as_default():
        try:
            return type(make_exchange([make_shard(0, 3, setting)], [3], setting)).__name__
        except ConfigError as refusal:
            return str(refusal)


def test_a_protocol_without_intervals_has_the_plain_exchange_or_refuses_them() -> None:
    names = [name for name in PROTOCOLS if find_protocol(name).needs_parameter_server]
    assert in_child(all_chosen, [ProtocolSpec(name) for name in names]) == ["Exchange"] * len(names)
    found = in_child(all_chosen, [ProtocolSpec(name, n_push=2) for name in names])
    assert found == [
        f"protocol {name} takes no intervals: {why_every_step(name)}"
        if why_every_step(name)
        else "IntervalExchange"
        for name in names
    ]


@st.composite
def cases(draw: Callable[[Any], Any]) -> Case:
    """Any intervals, with any shards, steps, runs and interleaving."""
    optimizer = draw(st.sampled_from(["sgd", "adagrad"]))
    spec = ProtocolSpec(
        "downpour",
        optimizer,
        learning_rate=draw(st.floats(1e-3, 0.05)),
        momentum=draw(st.sampled_from([0.0, 0.5])) if optimizer == "sgd" else 0.0,
        n_fetch=draw(st.integers(1, 5)),
        n_push=draw(st.integers(1, 5)),
        local_rate=draw(st.one_of(st.none(), st.floats(1e-3, 0.1))),
        rate_decay_epochs=draw(st.sampled_from([(), (2,)])),
    )
    servers = draw(st.integers(1, SERVERS))
    return some_case(
        spec,
        steps=draw(st.integers(1, 12)),
        size=draw(st.integers(servers, 12)),
        seed=draw(st.integers(0, 1000)),
        parameter_servers=servers,
        steps_per_run=draw(st.integers(1, 4)),
    )


def check_any_cases() -> None:
    servers = Servers()

    @settings(max_examples=15, deadline=None, derandomize=True, database=None)
    @given(cases())
    def check(case: Case) -> None:
        seen, expected = servers.run(case), reference(case)
        assert deviation(case, seen) < 1
        assert (seen.staleness, seen.counts) == (expected.staleness, expected.counts)

    check()


@pytest.mark.long
def test_any_intervals_in_any_order_follow_the_papers_algorithm() -> None:
    in_child(check_any_cases)


STEPS, WARMUP = 55, 12 + 7  # of small_order, whose 10 steps per run become 12
ROUNDED = ProtocolSpec("downpour", learning_rate=0.05, n_fetch=3, n_push=4)


@pytest.mark.parametrize("parameter_servers", [1, 2])
def test_nothing_accrued_is_lost_at_the_end_of_a_warm_up_or_an_epoch(
    cluster: RealCluster, parameter_servers: int
) -> None:
    workers = 3
    outcome = cluster.outcome(
        ROUNDED, workers + parameter_servers, parameter_servers=parameter_servers, epochs=2
    )
    assert {record.steps for record in outcome.warmups} == {WARMUP}
    assert {record.steps for record in outcome.epochs} == {STEPS}
    per_warmup, per_epoch = 5 + 1, 14 + 1  # at steps 0, 4, 8 and so on, and the flush
    updates = workers * (per_warmup + 2 * per_epoch)
    assert outcome.updates_pushed == updates
    assert outcome.updates_applied == [updates] * parameter_servers
    for record in outcome.epochs:
        assert record.staleness.updates == per_epoch * parameter_servers
    assert measure(outcome).warnings == []
    assert outcome.evaluations[-1].global_step == updates
    assert outcome.evaluations[-1].test_accuracy > 0.5


def test_what_is_left_over_is_pushed_before_the_parameters_of_an_epoch_are_stored(
    cluster: RealCluster,
) -> None:
    # One worker that pulls once and pushes once per run of 11 steps: SGD from the pulled
    # parameters, whose pushes are the gradient of step 0 and, from the flush, those of all others.
    once = ProtocolSpec("downpour", learning_rate=0.05, n_fetch=11, n_push=11)
    outcome = cluster.outcome(once, 2, steps_per_run=11, warmup_steps=0, batch_size=5000)
    (first, final) = outcome.evaluations
    assert first.global_step == final.global_step == outcome.updates_pushed == 2
    assert first.parameters_sha256 == final.parameters_sha256
    every_step = ProtocolSpec("downpour", learning_rate=0.05)
    alone = cluster.outcome(every_step, 2, steps_per_run=11, warmup_steps=0, batch_size=5000)
    # The worker's own parameters took the same steps, so it met the same losses.
    assert [r.loss for r in outcome.epochs] == pytest.approx([r.loss for r in alone.epochs])
    assert final.test_accuracy == pytest.approx(alone.evaluations[-1].test_accuracy, abs=2e-3)
