"""The paced rehearsal of a sweep: pace, length, directory, and who gets one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.factories import EXAMPLES, STEPS, make_failed, make_order, make_outcome

from dnnbench.analysis.context import load_analysis
from dnnbench.cli.shared.rehearsal import has_left, rehearsal_of
from dnnbench.cli.views.sweep import QuietView
from dnnbench.report.rehearsal import rehearsal_table
from dnnbench.settings.load import load
from dnnbench.sweep import rehearsal as r
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.results import create, sweep_names
from dnnbench.trial.machine import snapshot
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.settings.schema import Resolved
    from dnnbench.sweep.store import SweepStore
    from dnnbench.trial.outcome import TrialOutcome

DATA = DataSpec("synthetic-mnist", None, "d1", train_examples=EXAMPLES)
STEP_CPU_S = 25e-6 * EXAMPLES / STEPS
"""Of a worker and of the parameter server together, in the outcomes of the factory."""


class Noted(QuietView):
    """A view that keeps its notices."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this machine two cores."""
    monkeypatch.setattr("dnnbench.cli.shared.rehearsal.usable_cores", lambda: 2.0)


def resolve(**options: Any) -> Resolved:
    return load(None, {}, {key.replace("__", "."): value for key, value in options.items()})


def stored(path: Path, *, start_s: float = 5.0, **options: Any) -> SweepStore:
    """Return a finished sweep, whose trials took so long beside their training."""
    resolved = resolve(**options)
    plan = make_plan(resolved.config, DATA, "sweep", cores=2.0)
    store = create(path, resolved, plan, snapshot())
    for order in plan.orders:
        store.append(make_outcome(order, duration_s=7.0 + start_s, training_s=7.0))
    return store


def outcomes(*nodes: int, **changes: Any) -> list[TrialOutcome]:
    return [make_outcome(make_order(n, data=DATA), **changes) for n in nodes]


def test_the_pace_leaves_the_roles_of_the_largest_trial_their_share_of_the_cores() -> None:
    found = outcomes(4, 12)
    demand_ms = 1e3 * 11 * STEP_CPU_S
    assert demand_ms == pytest.approx(27.5)
    assert r.pace_ms(found, cores=2.0, share=1.0) == 14.0
    assert r.pace_ms(found, cores=2.0, share=0.5) == 28.0
    assert r.pace_ms(found, cores=1.0, share=0.5) == 55.0
    assert r.pace_ms(found[:1], cores=2.0, share=0.5) == 8.0  # 3 workers


def test_the_pace_is_that_of_the_protocol_that_needs_most() -> None:
    light, heavy = make_order(12, data=DATA), make_order(12, "dc-sgd", data=DATA)
    cpu_s = make_outcome(heavy).parameter_server_cpu_s
    found = [make_outcome(light), make_outcome(heavy, parameter_server_cpu_s=3 * cpu_s)]
    # A worker takes 20 us per example, the parameter server three times 5: 38.5 ms for 11 steps.
    assert r.pace_ms(found, cores=2.0, share=0.5) == 39.0


def test_a_rehearsal_has_both_ends_of_the_sweep_and_fits_its_budget() -> None:
    config = resolve(sweep__nodes="4,8,12").config
    found = outcomes(4, 8, 12, duration_s=10.0, training_s=7.0)
    planned = r.plan_rehearsal(config, found, cores=2.0)
    assert planned is not None
    assert planned.nodes == (4, 12)
    assert planned.pace_ms == 46.0
    # 12 trials of 3 s beside the training leave 39 s: 3.25 s each, 2 runs of 25 steps of 46 ms.
    assert planned.steps == 50
    assert planned.duration_s == pytest.approx(12 * (3.0 + 75 * 0.046))
    many = r.plan_rehearsal(config, outcomes(4, 12, duration_s=7.5, training_s=7.0), cores=64.0)
    assert many is not None
    assert many.steps == STEPS  # never more than a whole pass


def test_a_rehearsal_needs_a_trial_that_succeeded() -> None:
    config = resolve().config
    assert r.plan_rehearsal(config, [make_failed(make_order(4))], cores=2.0) is None


@pytest.mark.parametrize(
    ("options", "cores", "reason"),
    [
        ({}, 2.0, None),
        ({"sweep__nodes": "4"}, 2.0, "growth needs two node counts"),
        ({"sweep__protocols": "sequential"}, 2.0, "growth needs two node counts"),
        ({"train__pace_ms": "40"}, 2.0, "the sweep is paced itself"),
        ({}, 12.0, "each of 12 roles has a core of its own"),
    ],
)
def test_only_a_sweep_whose_roles_share_cores_gets_a_rehearsal(
    options: dict[str, Any], cores: float, reason: str | None
) -> None:
    found = r.refusal(resolve(**options).config, cores)
    assert found is None if reason is None else reason in str(found)


@pytest.mark.usefixtures("cores")
def test_a_rehearsal_is_a_sweep_in_the_directory_of_its_own(tmp_path: Path) -> None:
    store = stored(tmp_path, sweep__protocols="sequential,downpour,dc-sgd")
    view = Noted()
    assert not has_left(store)
    rehearsal = rehearsal_of(store, view)
    assert rehearsal is not None
    assert rehearsal.path == store.path / "rehearsal"
    assert has_left(store)
    assert sweep_names(tmp_path) == ["sweep"]
    orders = rehearsal.plan.orders
    assert {(o.nodes, o.protocol.name) for o in orders} == {
        (nodes, name) for nodes in (4, 12) for name in ("downpour", "dc-sgd")
    }
    assert {(o.pace_ms, o.epochs, o.epoch_steps) for o in orders} == {(46.0, 1, 50)}
    assert len(orders) == 4 * r.REPEATS
    assert rehearsal.plan.import_s == 0
    assert rehearsal.resolved.origins["train.pace_ms"] == "rehearsal"
    assert "46 ms per step or more, so that the roles need 30% of 2 cores" in view.notices[0]
    # Asked again, as after an interruption, it goes on with the same one until that is done.
    again = rehearsal_of(store, view)
    assert again is not None
    assert again.path == rehearsal.path
    for order in orders:
        again.append(make_outcome(order, 2.4))
    assert rehearsal_of(store, view) is None
    assert not has_left(store)


@pytest.mark.usefixtures("cores")
def test_a_long_rehearsal_runs_only_if_it_was_asked_for(tmp_path: Path) -> None:
    quiet = Noted()
    few: dict[str, Any] = {"sweep__nodes": "4,12", "sweep__repeats": "1"}
    assert rehearsal_of(stored(tmp_path / "a", start_s=30.0, **few), quiet) is None
    assert "it would take 6 min 41 s at 46 ms per step; --rehearsal" in quiet.notices[0]
    asked = stored(tmp_path / "b", start_s=30.0, sweep__rehearsal=True, **few)
    assert rehearsal_of(asked, quiet) is not None
    # Half as long as its sweep, it does not matter.
    assert (
        rehearsal_of(stored(tmp_path / "c", start_s=30.0, sweep__repeats="10"), quiet) is not None
    )


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("options", "notice"),
    [
        ({"sweep__rehearsal": False}, ""),
        ({"sweep__profile": "smoke"}, ""),
        ({"sweep__nodes": "4"}, ""),
        ({"sweep__nodes": "4", "sweep__rehearsal": True}, "no rehearsal: growth needs"),
    ],
)
def test_no_rehearsal_where_none_is_wanted_or_possible(
    tmp_path: Path, options: dict[str, Any], notice: str
) -> None:
    view = Noted()
    assert rehearsal_of(stored(tmp_path, **options), view) is None
    assert "".join(view.notices).startswith(notice)
    assert bool(view.notices) == bool(notice)


@pytest.mark.usefixtures("cores")
def test_the_report_shows_growth_utilization_and_the_published_figure(tmp_path: Path) -> None:
    store = stored(tmp_path)
    rehearsal = rehearsal_of(store, QuietView())
    assert rehearsal is not None
    before, _ = load_analysis(store)
    assert before.rehearsal is None
    assert rehearsal_table(before).rows == []
    slower = {4: 1.0, 12: 1.02}
    for order in rehearsal.plan.orders:
        epoch_s = 0.0475 * order.epoch_steps * slower[order.nodes] + 1e-4 * order.repeat
        rehearsal.append(cut(make_outcome(order, epoch_s)))
    analysis, _ = load_analysis(store)
    assert {cell.nodes for cell in analysis.cells} == {4, 8, 12}  # nothing paced among them
    table = rehearsal_table(analysis)
    assert table.title.startswith("Paced rehearsal: 46 ms per step or more")
    by_protocol = {row[0]: row for row in table.rows}
    for name, published in (("downpour", "+0.8"), ("dc-sgd", "+1.4")):
        _, low, high, growth, interval, beside, busy = by_protocol[name]
        assert (low, high, growth, beside) == ("47.5", "48.5", "+2.0", published)
        assert interval != "no interval"
        # 11 workers, 50 steps each, 0.5 ms of the parameter server per step, in 2.4 s of training.
        assert busy == f"{100 * 11 * 0.0005 / 0.04845:.0f}"
    assert "Paced times are no speed of this machine" in table.notes[0]


def cut(outcome: TrialOutcome) -> TrialOutcome:
    """Give an outcome of the factory, which are of whole epochs, the steps of a short one."""
    order = outcome.order
    steps = order.epoch_steps
    share = steps / STEPS
    records = [
        msgspec.structs.replace(
            record,
            steps=steps,
            examples=steps * order.batch_size,
            cpu_s=record.cpu_s * share,
            duration_s=outcome.training_s,
        )
        for record in outcome.epochs
    ]
    return msgspec.structs.replace(
        outcome,
        epochs=records,
        parameter_server_cpu_s=outcome.parameter_server_cpu_s * share,
    )
