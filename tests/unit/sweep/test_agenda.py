"""The policy after failures: which trials are run again at once, and which cells become void."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
from support.factories import make_context, make_failed, make_not_run, make_order, make_outcome
from support.fake_agent import FakeAgent, train_all
from support.stage import Stage

from dnnbench.analysis.context import load_analysis
from dnnbench.errors import CauseKind, TrialError
from dnnbench.report.figures.picture import Subject
from dnnbench.report.rows.table import as_csv
from dnnbench.sweep.agenda import RETRIED, Agenda
from dnnbench.sweep.void import with_void
from dnnbench.trial.messages import AgentFailed, AnyEvent, Order, RoleExited, RoleFailed
from dnnbench.trial.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.trial.spec import TrialSpec


def crash(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return [RoleExited(task="worker:1", code=-9)]


def starve(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return [RoleExited(task="worker:1", code=-9, lacked_memory=True)]


def raise_error(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return [RoleFailed(task="worker:1", cause="ZeroDivisionError: division by zero")]


def lack_data(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    return [AgentFailed(task="agent", cause="no such file", kind="data")]


def make_stage(path: Path, **options: object) -> Stage:
    """Return a sweep of one cell; ``run_retries=1`` gives a setting."""
    given = {name.replace("_", ".", 1): value for name, value in options.items()}
    return Stage(path, **{"sweep.protocols": "downpour", "sweep.repeats": 5, **given})  # type: ignore[arg-type]


def make_agenda(trials: int = 3, **rules: int) -> tuple[Agenda, list[TrialSpec], list[str]]:
    notices: list[str] = []
    orders = [make_order(repeat=n) for n in range(1, trials + 1)]
    given = {"repeats": trials, "retries": 1, "void_after": 2} | rules
    return Agenda(orders, notice=notices.append, **given), orders, notices


def test_the_policy_decides_on_every_kind_of_cause() -> None:
    assert RETRIED.keys() == set(get_args(CauseKind))


@pytest.mark.parametrize("kind", [*get_args(CauseKind), None])
def test_a_trial_is_run_again_at_once_only_after_a_transient_cause(
    kind: CauseKind | None,
) -> None:
    agenda, orders, notices = make_agenda()
    first = agenda.take()
    agenda.note(make_failed(first, failure=Failure("a cause", kind=kind)))
    is_again = kind in ("disconnected", "ssh-unreachable", "port", "stalled", "crashed")
    assert agenda.first == (first if is_again else orders[1])
    assert bool(notices) == is_again


def test_a_trial_is_run_again_as_often_as_the_setting_says(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, run_retries=2)
    outcomes = stage.run(crash, crash, train_all)
    assert [o.status for o in outcomes] == ["ok"] * 5
    assert [o.status for o in stage.store.earlier] == ["failed"] * 2
    first = outcomes[0].order
    assert {o.order.id for o in stage.store.earlier} == {first.id}
    assert [text.partition(":")[0] for text in stage.watcher.noticed] == [
        f"{first.id} is run again at once (retry 1 of 2)",
        f"{first.id} is run again at once (retry 2 of 2)",
    ]
    folders = sorted(path.name for path in (stage.store.path / "trials").glob(f"{first.id}*"))
    assert folders == [first.id, f"{first.id}-attempt2", f"{first.id}-attempt3"]


def test_a_failure_that_stays_is_the_one_that_is_stored_last(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, run_retries=1)
    stage.run(crash, starve)
    first, *others = sorted(stage.store.outcomes(), key=lambda o: o.order.repeat)
    assert first.failure
    assert (first.status, first.failure.kind) == ("failed", "out-of-memory")
    assert {o.status for o in others} == {"ok"}


@pytest.mark.parametrize("cause", [starve, raise_error, lack_data])
def test_what_would_fail_again_is_not_run_again(tmp_path: Path, cause: object) -> None:
    stage = make_stage(tmp_path, run_retries=3)
    stage.run(cause)  # type: ignore[arg-type]
    assert stage.stored() == ["failed", "ok", "ok", "ok", "ok"]
    assert stage.store.earlier == []


def burning_node_1(fleet: Stage) -> Callable[[FakeAgent, Order], list[AnyEvent]]:
    """Return a script in which the agent on node1 is lost, and the host does not come back."""

    def burn(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        if agent.host == "node1":
            fleet.down = {"node1"}
            agent.die("disconnected")
        return []

    return burn


def test_a_trial_that_lacks_hosts_for_its_retry_keeps_its_failure(tmp_path: Path) -> None:
    options = {"sweep.nodes": "4", "sweep.protocols": "downpour", "run.retries": 3}
    fleet = Stage(tmp_path, hosts=4, **options)

    fleet.run(burning_node_1(fleet))
    assert fleet.stored() == ["failed", "not run"]
    assert len([text for text in fleet.watcher.noticed if "again" in text]) == 1


def test_a_trial_runs_again_on_the_hosts_that_are_left(tmp_path: Path) -> None:
    options = {"sweep.nodes": "4", "sweep.protocols": "downpour", "run.retries": 1}
    fleet = Stage(tmp_path, hosts=5, **options)

    fleet.run(burning_node_1(fleet))
    assert fleet.stored() == ["ok", "ok"]
    assert "node1" not in {h for o in fleet.store.outcomes() for h in o.placement.values()}


def test_two_failed_repeats_void_a_cell_and_its_other_trials_are_skipped(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, run_void_after=2)
    outcomes = stage.run(starve, train_all, starve)
    assert [o.status for o in outcomes] == ["failed", "ok", "failed", "not run", "not run"]
    assert stage.stored() == ["failed", "void", "failed", "not run", "not run"]
    reason = "2 of 5 repeats failed"
    for outcome in outcomes[3:]:
        assert outcome.failure == Failure(f"skipped: its cell is void, as {reason}")
    (notice,) = stage.watcher.noticed
    assert notice == f"downpour at 3 nodes is void, as {reason}; its other trials are skipped"
    assert [what for what, _ in stage.watcher.told].count("started") == 3

    analysis, _ = load_analysis(stage.store)
    (cell,) = analysis.cells
    assert (cell.n, cell.epoch_s, cell.void) == (0, None, reason)
    assert (cell.failed, cell.voided, cell.not_run) == (2, 1, 2)
    assert {lost.status for lost in analysis.not_counted} == {"failed", "void", "not run"}


def test_a_resumed_sweep_runs_the_trials_of_a_void_cell_which_is_none_if_they_succeed(
    tmp_path: Path,
) -> None:
    stage = make_stage(tmp_path, run_void_after=2)
    stage.run(starve, train_all, starve)
    assert [order.repeat for order in stage.store.pending()] == [1, 3, 4, 5]
    stage.run(starve)  # one that fails again does not void it again
    assert sorted(stage.stored()) == ["failed", "ok", "ok", "ok", "ok"]
    analysis, _ = load_analysis(stage.store)
    assert (analysis.cells[0].n, analysis.cells[0].void) == (4, None)
    first = stage.store.plan.orders[0].id
    assert analysis.attempts[first] == 2
    rows = as_csv(Subject(analysis, stage.store.outcomes()), "trials").splitlines()
    names = rows[0].split(",")
    by_trial = {row.split(",")[names.index("trial")]: row.split(",") for row in rows[1:]}
    attempts = {name: row[names.index("attempts")] for name, row in by_trial.items()}
    assert attempts[first] == "2"
    assert sorted(attempts.values()) == ["1", "1", "1", "2", "2"]


def test_void_cells_leave_the_others_alone(tmp_path: Path) -> None:
    stage = make_stage(
        tmp_path, sweep_protocols="downpour,dc-sgd", sweep_repeats=4, run_void_after=2
    )
    script = [
        starve if order.protocol.name == "dc-sgd" and order.repeat < 3 else train_all
        for order in stage.store.plan.orders
    ]
    stage.run(*script)
    by_protocol: dict[str, list[str]] = {}
    for outcome in stage.store.outcomes():
        by_protocol.setdefault(outcome.order.protocol.name, []).append(outcome.status)
    assert by_protocol == {
        "downpour": ["ok"] * 4,
        "dc-sgd": ["failed", "failed", "not run", "not run"],
    }


def test_without_the_rule_no_cell_is_void(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, run_void_after=0)
    stage.run(starve, starve)
    assert stage.stored() == ["failed", "failed", "ok", "ok", "ok"]


def test_retries_are_no_failures_in_a_row() -> None:
    agenda, orders, _ = make_agenda(9, retries=10, void_after=0)
    for _ in range(10):
        agenda.note(make_failed(agenda.take(), failure=Failure("gone", kind="crashed")))
    assert agenda.first == orders[0]
    agenda.note(make_outcome(agenda.take()))
    for _ in range(2):
        agenda.note(make_failed(agenda.take()))
    agenda.note(make_not_run(agenda.take()))
    with pytest.raises(TrialError, match="3 trials in a row failed"):
        agenda.note(make_failed(agenda.take()))


def test_a_trial_of_a_cell_that_has_become_void_is_not_run_again() -> None:
    agenda, _, _ = make_agenda(4)
    running = [agenda.take() for _ in range(3)]  # side by side
    for order in running[:2]:
        agenda.note(make_failed(order))
    agenda.note(make_outcome(make_order(nodes=12)))
    agenda.note(make_failed(running[2], failure=Failure("gone", kind="crashed")))
    assert agenda.first is not None
    assert agenda.first.repeat == 4
    reason = agenda.reason_to_skip(agenda.first)
    assert reason is not None
    assert reason.cause == "skipped: its cell is void, as 3 of 4 repeats failed"


def test_older_plans_have_no_void_cells(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    assert stage.store.plan.void_after == 0
    outcomes = [make_failed(order) for order in stage.store.plan.orders[:4]]
    outcomes += [make_outcome(stage.store.plan.orders[4])]
    assert with_void(outcomes, stage.store.plan) == outcomes
    assert make_context().void_after == 0
