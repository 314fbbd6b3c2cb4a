"""Whole trials: real roles, TensorFlow's servers, a few steps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from support.real_cluster import SYNTHETIC, small_order

from dnnbench.analysis.trial_figures import measure
from dnnbench.data import catalog, synthetic
from dnnbench.data.locate import locate
from dnnbench.trial.protocols import PROTOCOLS, parameter_servers_of
from dnnbench.trial.spec import OPTIMIZERS, ModelSpec, ProtocolSpec

if TYPE_CHECKING:
    from support.real_cluster import Cluster

DOWNPOUR = ProtocolSpec("downpour", learning_rate=0.1)
ADAGRAD = ProtocolSpec("downpour", optimizer="adagrad", learning_rate=0.01)
DC_SGD = ProtocolSpec("dc-sgd", learning_rate=0.1, lambda0=2.0)
CONSTANT = ProtocolSpec("dc-sgd", learning_rate=0.1, compensation="constant", lambda0=0.04)
MOMENTUM = ProtocolSpec("dc-sgd-a", learning_rate=0.03, momentum=0.5, clip_norm=2.0)
NO_LAMBDA = ProtocolSpec("dc-sgd", learning_rate=0.1, lambda0=0.0)

STEPS = 55
WARMUP = 10 + 5  # as ordered, and the short run that ends an epoch


@pytest.mark.parametrize(
    ("protocol", "nodes", "parameter_servers"),
    [(DOWNPOUR, 4, 1), (ADAGRAD, 3, 1), (DC_SGD, 4, 1), (CONSTANT, 4, 2), (MOMENTUM, 4, 2)],
    ids=["downpour", "downpour-adagrad", "dc-sgd", "dc-sgd-constant-2-ps", "momentum-2-ps"],
)
def test_no_update_is_lost_and_every_one_is_accounted_for(
    cluster: Cluster, protocol: ProtocolSpec, nodes: int, parameter_servers: int
) -> None:
    outcome = cluster.outcome(protocol, nodes, parameter_servers=parameter_servers, epochs=2)
    workers = nodes - parameter_servers
    updates = workers * (WARMUP + 2 * STEPS)
    assert outcome.updates_pushed == updates
    assert outcome.updates_applied == [updates] * parameter_servers
    assert {record.task for record in outcome.warmups} == {f"worker:{n}" for n in range(workers)}
    assert {record.steps for record in outcome.warmups} == {WARMUP}
    told = sorted((record.task, record.epoch) for record in outcome.epochs)
    assert told == [(f"worker:{n}", epoch) for n in range(workers) for epoch in (1, 2)]
    for record in outcome.epochs:
        assert record.steps == STEPS
        assert record.examples == 1000 * STEPS
        assert record.staleness.updates == STEPS * parameter_servers
        assert 0 < record.duration_s < outcome.training_s
        assert record.cpu_s > 0
        assert 0 < record.parameter_server_cpu_s < outcome.parameter_server_cpu_s
    shares = sum(record.parameter_server_cpu_s for record in outcome.epochs)
    assert shares == pytest.approx(outcome.parameter_server_cpu_s)


@pytest.mark.parametrize("protocol", [DOWNPOUR, DC_SGD], ids=["downpour", "dc-sgd"])
def test_the_parameters_that_are_evaluated_are_those_of_the_parameter_server_and_learn(
    cluster: Cluster, protocol: ProtocolSpec
) -> None:
    outcome = cluster.outcome(protocol, 4, epochs=2)
    first, second, final = outcome.evaluations
    assert [first.epoch, second.epoch, final.epoch] == [1, 2, None]
    assert WARMUP * 3 + STEPS <= first.global_step < second.global_step <= final.global_step
    assert final.global_step == outcome.updates_applied[0]
    for evaluation in outcome.evaluations:
        assert abs(evaluation.validation_accuracy - evaluation.test_accuracy) < 0.05
    assert 0.5 < first.test_accuracy < second.test_accuracy
    losses = {(record.task, record.epoch): record.loss for record in outcome.epochs}
    for worker in range(3):
        assert losses[f"worker:{worker}", 2] < losses[f"worker:{worker}", 1] < 2.3


@pytest.mark.parametrize("protocol", [DC_SGD, CONSTANT], ids=["adaptive", "constant"])
def test_workers_that_miss_updates_have_them_compensated(
    cluster: Cluster, protocol: ProtocolSpec
) -> None:
    servers = 2 if protocol is CONSTANT else 1
    outcome = cluster.outcome(protocol, 4, parameter_servers=servers, epochs=2)
    assert sum(record.staleness.mean for record in outcome.epochs) > 0.1
    ratios = [record.compensation_ratio for record in outcome.epochs]
    assert all(ratio is not None and 0 <= ratio < 1 for ratio in ratios)
    assert max(ratio or 0.0 for ratio in ratios) > 0


def test_downpour_compensates_nothing_and_says_so(cluster: Cluster) -> None:
    outcome = cluster.outcome(DOWNPOUR, 4, epochs=2)
    assert {record.compensation_ratio for record in outcome.epochs} == {None}


def final_digest(cluster: Cluster, protocol: ProtocolSpec, **changes: Any) -> str:
    outcome = cluster.outcome(protocol, 2, **changes)
    return outcome.evaluations[-1].parameters_sha256


def test_one_worker_alone_gets_the_same_bits_with_and_without_compensation(
    cluster: Cluster,
) -> None:
    plain = final_digest(cluster, DOWNPOUR)
    assert len(plain) == 64
    assert final_digest(cluster, NO_LAMBDA) == plain
    assert final_digest(cluster, DC_SGD) == plain
    assert final_digest(cluster, ADAGRAD) != plain
    alone = cluster.outcome(DC_SGD, 2)
    assert [r.staleness.counts for r in alone.epochs] == [[STEPS]]
    assert [r.compensation_ratio for r in alone.epochs] == [0.0]


def test_a_seed_decides_everything_that_one_worker_does(cluster: Cluster) -> None:
    plain = cluster.outcome(DOWNPOUR, 2)
    again = cluster.run(small_order(DOWNPOUR, 2))
    other = cluster.outcome(DOWNPOUR, 2, seed=77)
    assert again.evaluations == plain.evaluations
    assert [r.loss for r in again.epochs] == [r.loss for r in plain.epochs]
    assert other.evaluations[-1].parameters_sha256 != plain.evaluations[-1].parameters_sha256


def test_steps_unrolled_together_are_the_steps_one_by_one(cluster: Cluster) -> None:
    settings: dict[str, Any] = {"model": ModelSpec(l2=1e-4), "warmup_steps": 0}
    assert final_digest(cluster, DOWNPOUR, steps_per_run=1, **settings) == final_digest(
        cluster, DOWNPOUR, steps_per_run=7, **settings
    )


def test_one_process_takes_the_steps_of_one_worker_and_its_parameter_server(
    cluster: Cluster,
) -> None:
    served = cluster.outcome(DOWNPOUR, 2, epochs=2)
    sequential = ProtocolSpec("sequential", learning_rate=0.1)
    alone = cluster.outcome(sequential, 1, parameter_servers=0, epochs=2)
    assert [e.parameters_sha256 for e in alone.evaluations] == [
        e.parameters_sha256 for e in served.evaluations
    ]
    assert [r.loss for r in alone.epochs] == [r.loss for r in served.epochs]
    assert [r.staleness.counts for r in alone.epochs] == [[STEPS], [STEPS]]
    assert alone.updates_applied == [alone.updates_pushed] == [WARMUP + 2 * STEPS]
    assert alone.evaluations == served.evaluations
    assert alone.parameter_server_cpu_s == 0.0
    assert all(record.cpu_s > 0 for record in alone.epochs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_process_has_the_optimizers_of_a_parameter_server(
    cluster: Cluster, optimizer: str
) -> None:
    served = ProtocolSpec("downpour", optimizer=optimizer, learning_rate=0.02)
    alone = ProtocolSpec("sequential", optimizer=optimizer, learning_rate=0.02)
    assert final_digest(cluster, served) == (
        cluster.outcome(alone, 1, parameter_servers=0).evaluations[-1].parameters_sha256
    )


def test_a_sharded_epoch_is_a_workers_share_of_the_examples(cluster: Cluster) -> None:
    outcome = cluster.outcome(DOWNPOUR, 3, epoch_definition="sharded")
    assert [record.examples for record in outcome.epochs] == [27_000, 27_000]


def test_a_users_model_trains_with_its_states_and_may_print(cluster: Cluster) -> None:
    model = ModelSpec("own_model:normalized_net", l2=1e-4, dropout=0.1)
    outcome = cluster.outcome(DC_SGD, 3, model=model)
    assert outcome.evaluations[-1].test_accuracy > 0.3


def test_the_accuracy_of_an_epoch_is_that_of_its_own_states(cluster: Cluster) -> None:
    # Batch statistics go on moving in later epochs; the parameters of the first stay what they are.
    model = ModelSpec("own_model:normalized_net", l2=1e-4)
    quick = ProtocolSpec("downpour", learning_rate=0.3)
    settings: dict[str, Any] = {"model": model, "warmup_steps": 0, "batch_size": 500}
    short = cluster.outcome(quick, 2, epochs=1, **settings).evaluations
    long = cluster.outcome(quick, 2, epochs=3, **settings).evaluations
    assert long[0] == short[0]
    assert long[-1].parameters_sha256 != long[0].parameters_sha256
    assert msgspec.structs.replace(long[-1], epoch=3) == long[2]


def test_a_users_model_may_take_images_and_is_told_of_the_data(cluster: Cluster) -> None:
    model = ModelSpec("own_model:image_net", l2=1e-4, dropout=0.1)
    outcome = cluster.outcome(DOWNPOUR, 3, model=model)
    assert outcome.evaluations[-1].test_accuracy > 0.3


def test_a_resnet_learns_a_users_own_images(cluster: Cluster, tmp_path: Path) -> None:
    shape = catalog.GENERATED["synthetic-cifar-10"].examples
    images, labels = synthetic.generate(4_000, shape)
    images = images.reshape(-1, *shape.image)
    np.savez(
        tmp_path / "own.npz",
        train_images=images[:3_000],
        train_labels=labels[:3_000],
        test_images=images[3_000:],
        test_labels=labels[3_000:],
    )
    outcome = cluster.run(
        small_order(
            DOWNPOUR,
            3,
            data=locate(f"directory:{tmp_path}").order,
            model=ModelSpec("resnet-8", l2=1e-4),
            epoch_definition="sharded",
            batch_size=50,
            steps_per_run=3,
            warmup_steps=0,
            epochs=2,
        )
    )
    assert outcome.status == "ok", outcome.failure
    assert [record.examples for record in outcome.epochs] == [1_350] * 4
    final = outcome.evaluations[-1]
    assert final.test_accuracy > 0.3  # chance: 0.1
    losses = {epoch: record.loss for record in outcome.epochs for epoch in [record.epoch]}
    assert losses[2] < losses[1]


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("synthetic-mnist", 0.9),
        pytest.param(
            "mnist",
            0.95,
            marks=pytest.mark.skipif(
                "MNIST_TEST_DIR" not in os.environ, reason="names a directory with MNIST"
            ),
        ),
    ],
)
def test_lenet_5_learns_digits_in_one_pass(cluster: Cluster, name: str, least: float) -> None:
    data_dir = Path(os.environ["MNIST_TEST_DIR"]) if name == "mnist" else None
    outcome = cluster.run(
        small_order(
            DOWNPOUR,
            4,
            data=locate(name, data_dir, explicit=True).order,
            model=ModelSpec("lenet-5", l2=1e-4, dropout=0.1),
            epoch_definition="sharded",
            batch_size=50,
        )
    )
    assert outcome.status == "ok", outcome.failure
    assert outcome.evaluations[-1].test_accuracy > least


def test_noisy_labels_are_harder_to_fit_and_the_outcome_names_them(cluster: Cluster) -> None:
    noisy = msgspec.structs.replace(SYNTHETIC, label_noise=0.5)
    plain, disturbed = (cluster.outcome(DOWNPOUR, 2, data=data) for data in (SYNTHETIC, noisy))
    assert disturbed.order.data.label_noise == 0.5
    assert disturbed.epochs[0].loss > 1.2 * plain.epochs[0].loss
    assert disturbed.evaluations[-1].test_accuracy > 0.3  # those labels are as they were


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_of_the_table_trains(cluster: Cluster, name: str) -> None:
    protocol = PROTOCOLS[name]
    servers, nodes = parameter_servers_of(name, 1), protocol.fixed_nodes or 4
    outcome = cluster.outcome(ProtocolSpec(name), nodes, parameter_servers=servers, epochs=2)
    assert measure(outcome).warnings == []
    assert outcome.evaluations[-1].test_accuracy > 0.5
    ratios = [record.compensation_ratio for record in outcome.epochs]
    assert [ratio is not None for ratio in ratios] == [protocol.compensates] * len(ratios)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (
            {"epoch_definition": "sharded", "batch_size": 30_000},
            "ConfigError: [train] batch_size: a worker has 27500 examples, a batch needs 30000",
        ),
        (
            {"batch_size": 1, "epochs": 200},
            "[train] epochs, batch_size: expected at most 16,777,216 updates in a trial, up to ",
        ),
        (
            {"model": ModelSpec("own_model:no_such_net")},
            "[train] model: cannot import 'own_model:no_such_net'",
        ),
        (
            {"model": ModelSpec("own_model:small_images_net")},
            "[train] model: expected own_model:small_images_net to have inputs of shape (784,) or ",
        ),
        (
            {"model": ModelSpec("own_model:binary_net")},
            "[train] model: expected own_model:binary_net to have outputs of shape (10,), one for ",
        ),
    ],
    ids=["batch", "updates", "model", "inputs", "outputs"],
)
def test_an_order_that_cannot_be_carried_out_is_a_failed_trial_with_one_clear_line(
    cluster: Cluster, changes: dict[str, Any], cause: str
) -> None:
    outcome = cluster.run(small_order(DOWNPOUR, 3, **changes))
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.cause.startswith(cause)
    assert "\n" not in outcome.failure.cause


@pytest.mark.parametrize(
    "protocol",
    [ProtocolSpec("downpour", learning_rate=1e30), ProtocolSpec("dc-sgd", lambda0=1e30)],
    ids=["learning-rate", "lambda0"],
)
def test_a_trial_that_diverges_says_where_and_leaves_the_agent_alive(
    cluster: Cluster, protocol: ProtocolSpec
) -> None:
    outcome = cluster.run(small_order(protocol, 4, warmup_steps=0, epochs=2))
    assert (outcome.status, outcome.failure) == ("diverged", None)
    assert outcome.divergence
    assert outcome.divergence.epoch == 1
    assert 1 < outcome.divergence.step <= STEPS
    assert outcome.evaluations == []
    after = cluster.run(small_order(DOWNPOUR, 2))
    assert after.status == "ok"  # on the same agent, which a test's cluster starts only once


def test_an_epoch_without_the_sampled_step_has_no_ratio_and_no_warning(cluster: Cluster) -> None:
    short = small_order(DC_SGD, 3, batch_size=5000, steps_per_run=25, warmup_steps=0)
    outcome = cluster.run(short)
    assert outcome.status == "ok"
    assert {record.steps for record in outcome.epochs} == {11}
    assert [record.compensation_ratio for record in outcome.epochs] == [None, None]
    assert measure(outcome).warnings == []


def test_a_trial_tells_what_it_started_from_and_what_chance_gives(cluster: Cluster) -> None:
    outcome = cluster.outcome(DOWNPOUR, 4, epochs=2)
    for record in outcome.epochs:
        assert record.initial_loss is not None
        assert 1.5 < record.initial_loss < 4.0
        assert record.final_loss is not None
        assert record.final_loss < record.loss < record.initial_loss
    (chance,) = {evaluation.chance_accuracy for evaluation in outcome.evaluations}
    assert chance is not None
    assert 0.1 < chance < 0.13
    assert measure(outcome).not_learned is None


@pytest.mark.parametrize("parameter_servers", [1, 2])
def test_a_learning_rate_falls_at_its_epoch_on_every_parameter_server(
    cluster: Cluster, parameter_servers: int
) -> None:
    still = ProtocolSpec("downpour", rate_decay_epochs=(2,), rate_decay=1e-30)
    nodes = parameter_servers + 1
    outcome = cluster.run(small_order(still, nodes, parameter_servers=parameter_servers, epochs=2))
    assert outcome.status == "ok"
    first, second, final = outcome.evaluations
    assert second.global_step > first.global_step
    assert first.test_accuracy == second.test_accuracy == final.test_accuracy > 0.3


def test_a_learning_rate_rises_with_the_epochs_of_the_warm_up(cluster: Cluster) -> None:
    rising = ProtocolSpec("downpour", rate_warmup_epochs=1000)
    outcome = cluster.run(small_order(rising, 4, epochs=1, warmup_steps=0))
    losses = [record.loss for record in outcome.epochs]
    initial = [record.initial_loss or 0.0 for record in outcome.epochs]
    assert sum(initial) / 3 - 0.2 < sum(losses) / 3 < sum(initial) / 3 + 0.2
    usual = cluster.outcome(DOWNPOUR, 4, epochs=2)
    assert max(record.loss for record in usual.epochs if record.epoch == 1) < min(losses)
