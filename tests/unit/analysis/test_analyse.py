from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from support.factories import (
    PUBLISHED_S,
    make_context,
    make_diverged,
    make_failed,
    make_hosts,
    make_not_run,
    make_order,
    make_outcome,
    make_sweep,
    make_sweep_on_hosts,
    spread,
)

from dnnbench.analysis.analyse import Analysis, analyse
from dnnbench.analysis.trial_figures import measure
from dnnbench.errors import ResultsError
from dnnbench.trial.outcome import EvaluationRecord, LostWorker, Staleness
from dnnbench.trial.protocols import PROTOCOLS, Protocol
from dnnbench.trial.spec import CellKey, DataSpec, ModelSpec, ProtocolSpec, TrialSettings


def test_a_sweep_with_the_published_means_gives_the_published_table() -> None:
    analysis = analyse(*make_sweep_on_hosts())
    assert [(c.nodes, c.protocol) for c in analysis.cells] == [
        (nodes, protocol) for nodes in (4, 8, 12) for protocol in ("downpour", "dc-sgd")
    ]
    for cell in analysis.cells:
        assert cell.epoch_s is not None
        assert cell.epoch_s.mean == pytest.approx(cell.published_epoch_s)
        assert (cell.n, cell.planned, cell.failed, cell.missing) == (3, 3, 0, 0)
    assert analysis.warnings == []
    assert analysis.unlike_report == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"parameter_servers": 2}, "parameter servers 2, not 1"),
        ({"epoch_definition": "sharded"}, "epoch definition sharded, not replicated"),
        ({"batch_size": 500}, "batch size 500, not 100"),
        ({"model": ModelSpec("lenet5")}, "model lenet5, not mnist-dnn"),
        ({"data": DataSpec("cifar-10", None, "d1")}, "data cifar-10, not mnist"),
        (
            {"protocol": ProtocolSpec("downpour", optimizer="adagrad")},
            "downpour: optimizer adagrad, not sgd",
        ),
        ({"protocol": ProtocolSpec("downpour", momentum=0.9)}, "downpour: momentum 0.9, not 0.0"),
        ({}, None),
        ({"model": ModelSpec(l2=0.5, dropout=0.5)}, None),
        ({"epochs": 20, "warmup_steps": 0, "steps_per_run": 1}, None),
        ({"data": DataSpec("mnist", "/a", "d9", label_noise=0.1)}, None),
        ({"protocol": ProtocolSpec("downpour", learning_rate=0.5)}, None),
    ],
)
def test_published_figures_stand_only_beside_trials_with_the_reports_setting(
    changes: dict[str, Any], reason: str | None
) -> None:
    _, context = make_sweep_on_hosts()
    outcomes = []
    for nodes in (4, 12):
        for repeat in (1, 2):
            order = make_order(nodes, **{"repeat": repeat, **changes})
            outcomes.append(make_outcome(order, 3.5 + repeat / 100, placement=spread(order)))
    analysis = analyse(outcomes, context)
    assert analysis.unlike_report == ([reason] if reason else [])
    published = [cell.published_epoch_s for cell in analysis.cells if cell.n]
    assert published == ([None, None] if reason else [3.52, 3.55])
    (growth,) = (g for g in analysis.growth if g.protocol == "downpour")
    assert growth.measured is not None
    assert growth.published_percent == (None if reason else 0.8)


def test_published_figures_stand_only_beside_trials_on_hosts_of_their_own() -> None:
    outcomes, context = make_sweep_on_hosts()
    two_on_one = {"worker:9": "node1"}
    shared = [
        msgspec.structs.replace(o, placement=o.placement | two_on_one) if o.order.nodes == 12 else o
        for o in outcomes
    ]
    analysis = analyse(shared, context)
    assert analysis.unlike_report == ["12 nodes are not on hosts of their own"]
    assert [cell.own_hosts for cell in analysis.cells] == [True] * 4 + [False] * 2
    assert [cell.published_epoch_s is None for cell in analysis.cells] == [False] * 4 + [True] * 2
    assert [growth.published_percent for growth in analysis.growth] == [None, None]
    assert [o.published_percent is None for o in analysis.overhead] == [False, False, True]

    here = analyse(make_sweep(), make_context(host_cores=16))
    assert here.unlike_report == ["4, 8 and 12 nodes are not on hosts of their own"]
    of_others = [make_outcome(make_order(3, "downpour"))]
    context = make_context(planned_nodes=[3], planned_protocols=["downpour"])
    assert analyse(of_others, context).unlike_report == []  # Table 2 has no such cell


def test_the_unit_of_replication_is_the_trial() -> None:
    cell = analyse(make_sweep(), make_context()).cell(CellKey(12, "downpour"))
    assert cell.epoch_s is not None
    # Three trials 30 ms apart, whatever their 11 workers and 2 epochs each did: t(2) * s / sqrt(3).
    assert cell.epoch_s.n == 3
    assert cell.epoch_s.half_width == pytest.approx(4.302653 * 0.03 / 3**0.5)
    assert (cell.epoch_s.minimum, cell.epoch_s.maximum) == pytest.approx((3.52, 3.58))


def test_growth_and_overhead_stand_beside_the_published_ones() -> None:
    analysis = analyse(*make_sweep_on_hosts())
    growth = {g.protocol: g for g in analysis.growth}
    assert growth["downpour"].published_percent == 0.8
    assert growth["dc-sgd"].published_percent == 1.4
    assert growth["dc-sgd"].measured is not None
    assert growth["dc-sgd"].measured.method == "welch"
    assert growth["dc-sgd"].measured.percent == pytest.approx(100 * (3.64 / 3.59 - 1), abs=0.001)
    for overhead in analysis.overhead:
        assert (overhead.protocol, overhead.baseline) == ("dc-sgd", "downpour")
        base = CellKey(overhead.nodes, "downpour")
        expected = PUBLISHED_S[overhead.key] / PUBLISHED_S[base]
        assert overhead.published_percent == pytest.approx(100 * (expected - 1))
        assert overhead.measured is not None
        assert (overhead.measured.method, overhead.measured.n) == ("paired", (3, 3))
        assert overhead.measured.percent == pytest.approx(overhead.published_percent, abs=0.001)


def test_growth_between_other_node_counts_is_derived_from_table_2() -> None:
    outcomes, context = make_sweep_on_hosts()
    outcomes = [o for o in outcomes if o.order.nodes != 12]
    analysis = analyse(outcomes, msgspec.structs.replace(context, planned_nodes=[4, 8]))
    assert analysis.growth[0].published_percent == pytest.approx(100 * (3.53 / 3.52 - 1))
    one_size = analyse(outcomes[:1], make_context(planned_nodes=[4]))
    assert one_size.growth == []
    assert one_size.cell(CellKey(4, "downpour")).efficiency is None


def test_single_trials_have_neither_growth_nor_overhead() -> None:
    analysis = analyse(make_sweep(repeats=1), make_context(planned_repeats=1))
    assert [growth.measured for growth in analysis.growth] == [None, None]
    assert [overhead.measured for overhead in analysis.overhead] == [None, None, None]
    large = analysis.cell(CellKey(12, "downpour"))
    assert large.epoch_s is not None
    assert large.efficiency is None


def test_trials_that_failed_or_were_not_run_are_counted_and_never_averaged() -> None:
    outcomes = [
        make_outcome(make_order(4, "downpour", 1), 3.5),
        make_failed(make_order(4, "downpour", 2), cause="session ended:\n  connection reset"),
        make_failed(make_order(4, "downpour", 3), status="interrupted", failure=None),
        make_not_run(make_order(4, "downpour", 4)),
    ]
    context = make_context(planned_nodes=[4], planned_repeats=5)
    analysis = analyse(outcomes, context)
    cell = analysis.cell(CellKey(4, "downpour"))
    assert (cell.n, cell.planned) == (1, 5)
    assert (cell.failed, cell.interrupted, cell.not_run, cell.missing) == (1, 1, 1, 1)
    assert cell.epoch_s is not None
    assert cell.epoch_s.mean == pytest.approx(3.5)
    assert cell.epoch_s.half_width is None
    failed, interrupted, not_run = analysis.not_counted
    assert (failed.id, failed.task) == ("n04-downpour-r2", "worker:1")
    assert failed.cause == "session ended: connection reset"
    assert interrupted.cause == "interrupted"
    assert (not_run.status, not_run.task) == ("not run", None)
    assert (not_run.host, not_run.cause) == ("node12", "connection refused")
    never_ran = analysis.cell(CellKey(4, "dc-sgd"))
    assert (never_ran.n, never_ran.missing, never_ran.epoch_s) == (0, 5, None)


def test_a_trial_with_fewer_workers_is_counted_with_its_figures_and_never_averaged() -> None:
    lost = LostWorker("worker:1", "node3", "killed by signal 9", epoch=2, after_s=12.34)
    degraded = msgspec.structs.replace(
        make_outcome(make_order(repeat=2), 99.0), status="degraded", lost_workers=[lost]
    )
    outcomes = [make_outcome(make_order(repeat=1), 3.5), degraded]
    analysis = analyse(outcomes, make_context(planned_nodes=[4], planned_repeats=2))
    cell = analysis.cell(CellKey(4, "downpour"))
    assert (cell.n, cell.degraded, cell.failed) == (1, 1, 0)
    assert cell.epoch_s
    assert cell.epoch_s.mean == pytest.approx(3.5)
    (shown,) = analysis.not_counted
    assert shown.status == "degraded"
    assert shown.cause.startswith(
        "lost worker:1 on node3 in epoch 2, 12.3 s after the start: killed by signal 9 (99 s per"
    )
    assert "test accuracy" in shown.cause


def test_a_diverged_trial_is_counted_with_its_place_and_never_averaged() -> None:
    outcomes = [make_outcome(make_order(repeat=1)), make_diverged(make_order(repeat=2))]
    analysis = analyse(outcomes, make_context(planned_nodes=[4], planned_repeats=2))
    cell = analysis.cell(CellKey(4, "downpour"))
    assert (cell.n, cell.diverged, cell.failed, cell.not_learned) == (1, 1, 0, 0)
    assert cell.test_accuracy is not None
    assert cell.test_accuracy.n == 1
    (diverged,) = analysis.not_counted
    assert (diverged.status, diverged.task, diverged.host) == ("diverged", None, None)
    assert diverged.cause == "loss is not finite at step 12 of epoch 1 (worker:1)"


@pytest.mark.parametrize(
    ("accuracy", "loss", "reason"),
    [
        (0.124, 0.5, None),
        (0.123, 0.5, "test accuracy 12.30%, chance gives up to 12.30%"),
        (0.098, 108.0, "test accuracy 9.80%, chance gives up to 12.30%"),
        (0.275, 2.3, None),
        (0.275, 50.0, "loss 50 at the end, 2.3 at the first step"),
    ],
)
def test_a_trial_that_stayed_finite_and_did_not_learn_is_averaged_and_marked(
    accuracy: float, loss: float, reason: str | None
) -> None:
    outcome = make_outcome(make_order())
    epochs = [
        msgspec.structs.replace(
            record,
            loss=9.9,  # a loss that grew first says nothing of the end
            initial_loss=2.3,
            final_loss=loss if record.epoch == 2 else 99.0,
        )
        for record in outcome.epochs
    ]
    evaluations = [
        EvaluationRecord(1, 100, 0.5, 0.1, chance_accuracy=0.123),  # not the final one
        EvaluationRecord(None, 200, accuracy, accuracy, chance_accuracy=0.123),
    ]
    outcome = msgspec.structs.replace(outcome, epochs=epochs, evaluations=evaluations)
    analysis = analyse([outcome], make_context())
    cell = analysis.cell(CellKey(4, "downpour"))
    assert (cell.n, cell.not_learned) == (1, int(reason is not None))
    assert cell.test_accuracy is not None
    assert cell.test_accuracy.mean == accuracy
    expected = [f"n04-downpour-r1: did not learn: {reason}"] if reason else []
    assert analysis.warnings == expected


def test_a_sampled_step_that_never_ran_is_a_missing_value_and_not_a_zero() -> None:
    outcome = make_outcome(make_order(4, "dc-sgd"))
    epochs = [msgspec.structs.replace(r, compensation_ratio=None) for r in outcome.epochs]
    analysis = analyse([msgspec.structs.replace(outcome, epochs=epochs)], make_context())
    assert analysis.warnings == []
    assert analysis.cell(CellKey(4, "dc-sgd")).compensation_ratio is None


def test_a_trial_repeated_after_a_failure_counts_once_and_the_failure_stays_visible() -> None:
    order = make_order(4, "downpour", 1)
    analysis = analyse([make_failed(order), make_outcome(order)], make_context(planned_nodes=[4]))
    cell = analysis.cell(CellKey(4, "downpour"))
    assert (cell.n, cell.failed, cell.missing) == (1, 0, 2)
    assert [lost.repeated for lost in analysis.not_counted] == [True]
    with pytest.raises(ResultsError, match="succeeded twice"):
        analyse([make_outcome(order), make_outcome(order)], make_context())


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"data": DataSpec("mnist", None, "d1")}, "data.name is mnist, but synthetic-mnist"),
    ({"data": DataSpec("synthetic-mnist", None, "d2")}, "data.digest is d2, but d1"),
    ({"model": ModelSpec(l2=0.5, dropout=0.1)}, "model.l2 is 0.5, but 0.0001"),
    (
        {"protocol": ProtocolSpec("downpour", learning_rate=0.2)},
        "protocol.learning_rate is 0.2, but 0.1",
    ),
    ({"parameter_servers": 2}, "parameter_servers is 2, but 1"),
    ({"epochs": 3}, "epochs is 3, but 2"),
    ({"batch_size": 10}, "batch_size is 10, but 100"),
    ({"epoch_definition": "sharded"}, "epoch_definition is sharded, but replicated"),
    ({"warmup_steps": 0}, "warmup_steps is 0, but 50"),
    ({"warm_start_epochs": 1}, "warm_start_epochs is 1, but 0"),
    ({"steps_per_run": 1}, "steps_per_run is 1, but 25"),
    ({"device": "gpu"}, "device is gpu, but cpu"),
    ({"pace_ms": 40.0}, "pace_ms is 40.0, but 0.0"),
    ({"epoch_steps": 50}, "epoch_steps is 50, but 0"),
    ({"sweep": "sweep-2"}, "sweep is sweep-2, but sweep-1"),
]


def test_every_setting_that_trials_share_is_among_those_below() -> None:
    assert {name for changes, _ in OTHERS for name in changes} == {
        *TrialSettings.__struct_fields__,
        "protocol",
    }


@pytest.mark.parametrize(("changes", "difference"), OTHERS, ids=[words for _, words in OTHERS])
def test_different_data_or_settings_are_never_mixed(
    changes: dict[str, Any], difference: str
) -> None:
    outcomes = [
        make_outcome(make_order(repeat=1)),
        make_outcome(make_order(repeat=2, **changes)),
    ]
    with pytest.raises(ResultsError) as caught:
        analyse(outcomes, make_context())
    assert caught.value.where == "n04-downpour-r2"
    assert caught.value.problem == f"{difference} in n04-downpour-r1"


def test_settings_are_compared_between_protocols_too() -> None:
    outcomes = [make_outcome(make_order()), make_outcome(make_order(4, "dc-sgd", epochs=3))]
    with pytest.raises(ResultsError, match="epochs is 3, but 2 in n04-downpour-r1"):
        analyse(outcomes, make_context())


def test_a_protocol_without_parameter_server_goes_with_one_that_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PROTOCOLS, "ring", Protocol("ring", "Ring", needs_parameter_server=False))
    alone = make_outcome(make_order(4, "ring", parameter_servers=0))
    analysis = analyse([alone, make_outcome(make_order())], make_context(planned_nodes=[4]))
    assert analysis.settings.parameter_servers == 1
    assert analysis.cell(CellKey(4, "ring")).workers == 4
    assert analysis.cell(CellKey(4, "downpour")).workers == 3
    assert analyse([alone], make_context()).settings.parameter_servers == 0
    with pytest.raises(ResultsError, match="batch_size is 100, but 7 in n04-downpour-r1"):
        analyse([alone, make_outcome(make_order(batch_size=7))], make_context())


def test_the_same_data_in_another_directory_is_the_same_data() -> None:
    outcomes = [
        make_outcome(make_order(repeat=repeat, data=DataSpec("mnist", directory, "d1")))
        for repeat, directory in ((1, "/a"), (2, "/b"))
    ]
    assert analyse(outcomes, make_context()).cell(CellKey(4, "downpour")).n == 2


def test_no_outcomes_is_one_clear_line() -> None:
    with pytest.raises(ResultsError, match="no trial has ended"):
        analyse([], make_context())
    with pytest.raises(ResultsError, match="no measured epoch"):
        analyse([make_outcome(make_order(), epochs=[])], make_context())


def test_throughput_efficiency_and_cpu_time_follow_their_definitions() -> None:
    analysis = analyse(make_sweep(), make_context())
    small, large = analysis.cell(CellKey(4, "downpour")), analysis.cell(CellKey(12, "downpour"))
    assert small.examples_per_s is not None
    assert small.examples_per_s.mean == pytest.approx(3 * 55_000 / 3.52, rel=1e-3)
    assert small.efficiency is not None
    assert (small.efficiency.percent, small.efficiency.low_percent) == (100.0, None)
    assert large.efficiency is not None
    assert large.efficiency.percent == pytest.approx(100 * 3.52 / 3.55, rel=1e-4)
    assert large.efficiency.low_percent is not None
    assert large.efficiency.low_percent < large.efficiency.percent
    assert (small.roles_per_core, large.roles_per_core) == (2.0, 6.0)
    assert large.worker_cpu_s_per_example is not None
    assert large.worker_cpu_s_per_example.mean == pytest.approx(20e-6)
    assert large.parameter_server_cpu_s_per_example is not None
    assert large.parameter_server_cpu_s_per_example.mean == pytest.approx(5e-6)


def test_staleness_of_all_updates_is_merged_and_its_mean_taken_by_trial() -> None:
    def with_staleness(repeat: int, counts: list[int]) -> Any:
        outcome = make_outcome(make_order(repeat=repeat))
        records = [
            msgspec.structs.replace(record, staleness=Staleness(counts))
            for record in outcome.epochs
        ]
        return msgspec.structs.replace(outcome, epochs=records)

    outcomes = [with_staleness(1, [10]), with_staleness(2, [0, 0, 0, 0, 10])]
    cell = analyse(outcomes, make_context()).cell(CellKey(4, "downpour"))
    assert cell.staleness_counts == [60, 0, 0, 0, 60]
    assert cell.staleness_p95 == 4
    assert cell.staleness is not None
    assert (cell.staleness.mean, cell.staleness.n) == (2.0, 2)


def test_accuracy_is_the_final_one_and_listed_by_epoch() -> None:
    cell = analyse(make_sweep(), make_context()).cell(CellKey(8, "dc-sgd"))
    assert cell.test_accuracy is not None
    assert cell.validation_accuracy is not None
    assert cell.test_accuracy.mean == pytest.approx(0.955)
    assert cell.validation_accuracy.mean == pytest.approx(0.960)
    by_epoch = [(a.epoch, round(a.test_accuracy.mean, 4)) for a in cell.accuracy_by_epoch]
    assert by_epoch == [(1, 0.90), (2, 0.91)]
    assert cell.loss is not None
    assert cell.loss.mean == pytest.approx(0.25)


def test_the_typical_trial_is_the_median_one() -> None:
    outcomes = [
        make_outcome(make_order(repeat=repeat), epoch_s)
        for repeat, epoch_s in ((1, 9.0), (2, 3.5), (3, 3.4))
    ]
    typical = analyse(outcomes, make_context()).cell(CellKey(4, "downpour")).typical
    assert typical is not None
    assert (typical.id, typical.epochs) == ("n04-downpour-r2", [1, 2])
    assert typical.mean_s == pytest.approx([3.49, 3.51])
    assert typical.fastest_worker_s == pytest.approx([3.48, 3.50])
    assert typical.slowest_worker_s == pytest.approx([3.50, 3.52])


def test_doubtful_trials_are_warned_of() -> None:
    lost_update = make_outcome(make_order(repeat=1), updates_applied=[7])
    lost_epoch = make_outcome(make_order(repeat=2))
    lost_epoch = msgspec.structs.replace(lost_epoch, epochs=lost_epoch.epochs[1:])
    idle = make_outcome(make_order(4, "dc-sgd"))
    idle = msgspec.structs.replace(
        idle,
        epochs=[msgspec.structs.replace(r, compensation_ratio=0.0) for r in idle.epochs],
    )
    warnings = analyse([lost_update, lost_epoch, idle], make_context()).warnings
    assert warnings == [
        "n04-downpour-r1: 3450 updates pushed, but 7 applied",
        "n04-downpour-r2: 5 worker epochs measured, 6 expected",
        "n04-dc-sgd-r1: updates were stale, yet the compensation was zero",
    ]


def test_protocols_that_differ_in_more_than_the_protocol_are_warned_of() -> None:
    faster = ProtocolSpec("dc-sgd", learning_rate=0.2)
    outcomes = [
        make_outcome(make_order(4, "downpour")),
        make_outcome(make_order(4, faster)),
    ]
    (warning,) = analyse(outcomes, make_context()).warnings
    assert warning == "learning_rate differs between the protocols: downpour 0.1, dc-sgd 0.2"
    warming = ProtocolSpec("dc-sgd", lambda0=0.7, rate_warmup_epochs=2)
    outcomes[1] = make_outcome(make_order(4, warming))
    (warning,) = analyse(outcomes, make_context()).warnings
    assert warning == "rate_warmup_epochs differs between the protocols: downpour 0, dc-sgd 2"


def test_the_paper_profile_is_analyzed_at_once() -> None:
    outcomes = make_sweep(repeats=20, epochs=20)
    assert sum(len(outcome.epochs) for outcome in outcomes) == 2 * 20 * 20 * (3 + 7 + 11)
    started = time.process_time()
    analysis = analyse(outcomes, make_context(planned_repeats=20))
    assert time.process_time() - started < 2.0  # about 0.1 s; quadratic work would take minutes
    assert all(cell.n == 20 for cell in analysis.cells)


def test_roles_per_core_are_those_of_the_hosts_that_a_trial_had() -> None:
    outcomes = [msgspec.structs.replace(o, placement=spread(o.order)) for o in make_sweep()]
    context = make_context(hosts=make_hosts(12), host_cores=48)
    analysis = analyse(outcomes, context)
    assert {cell.roles_per_core for cell in analysis.cells} == {0.25}
    assert [(p.nodes, len(p.trials)) for p in analysis.placements] == [(4, 6), (8, 6), (12, 6)]
    alone = analyse(outcomes, make_context(hosts=make_hosts(1)))
    assert alone.placements == []
    assert alone.cell(CellKey(4, "downpour")).roles_per_core == 2.0


def with_one_process(*, epoch_s: float = 0.5) -> Analysis:
    alone = [
        make_outcome(make_order(1, "sequential", repeat, parameter_servers=0), epoch_s + part_s)
        for repeat, part_s in ((1, -0.01), (2, 0.0), (3, 0.01))
    ]
    protocols = ["downpour", "dc-sgd", "sequential"]
    return analyse([*alone, *make_sweep()], make_context(planned_protocols=protocols))


def test_one_process_is_one_cell_and_neither_grows_nor_is_missing_elsewhere() -> None:
    analysis = with_one_process()
    assert [cell.nodes for cell in analysis.cells if cell.protocol == "sequential"] == [1]
    assert [cell.protocol for cell in analysis.cells if cell.nodes == 1] == ["sequential"]
    assert {growth.protocol for growth in analysis.growth} == {"downpour", "dc-sgd"}
    assert {growth.from_nodes for growth in analysis.growth} == {4}
    assert analysis.smallest_nodes == 4
    assert analysis.warnings == []
    without = {cell.key: cell for cell in analyse(make_sweep(), make_context()).cells}
    for cell in analysis.cells:
        if cell.key in without:
            assert msgspec.structs.replace(cell, speedup=None) == without[cell.key]
            assert without[cell.key].speedup is None


def test_the_speedup_is_the_throughput_of_all_workers_over_that_of_one_process() -> None:
    analysis = with_one_process(epoch_s=0.5)
    # Every worker passes over all examples: 3 workers in 3.5 s against one process in 0.5 s.
    speedup = analysis.cell(CellKey(4, "downpour")).speedup
    assert speedup
    assert speedup.ratio == pytest.approx(3 * 0.5 / PUBLISHED_S[CellKey(4, "downpour")], rel=1e-3)
    assert speedup.low
    assert speedup.high
    assert speedup.low < speedup.ratio < speedup.high
    assert analysis.cell(CellKey(1, "sequential")).speedup is None


@pytest.mark.parametrize(
    ("backups", "applied", "is_odd"),
    [
        (0, 100, False),
        (0, 300, True),
        (0, 99, True),
        (1, 120, False),
        (1, 99, True),
        (1, 301, True),
    ],
)
def test_a_synchronous_step_is_one_update(backups: int, applied: int, is_odd: bool) -> None:
    protocol = ProtocolSpec("sync", backup_workers=backups)
    order = make_order(4, protocol, epochs=1, warmup_steps=0)
    good = make_outcome(order)
    records = [msgspec.structs.replace(record, steps=100) for record in good.epochs]
    outcome = msgspec.structs.replace(
        good, epochs=records, warmups=[], updates_pushed=300, updates_applied=[applied]
    )
    assert any("steps taken together" in line for line in measure(outcome).warnings) == is_odd
