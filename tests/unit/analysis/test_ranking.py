from __future__ import annotations

from typing import Any

import pytest
from support.factories import make_context, make_diverged, make_failed, make_order, make_outcome

from dnnbench.analysis.analyse import analyse
from dnnbench.analysis.ranking import default_target, rank
from dnnbench.errors import ResultsError
from dnnbench.trial.outcome import EvaluationRecord, TrialOutcome
from dnnbench.trial.spec import CellKey, ProtocolSpec, TrialSpec


def order(rate: float, repeat: int = 1, protocol: str = "downpour", **changes: Any) -> TrialSpec:
    spec = ProtocolSpec(protocol, learning_rate=rate)
    name = CellKey(4, protocol, (("learning_rate", rate),)).trial_id(repeat)
    return make_order(4, spec, repeat, varied=("learning_rate",), id=name, **changes)


def outcome(
    rate: float, repeat: int, *accuracies: float, epoch_s: float = 2.0, **changes: Any
) -> TrialOutcome:
    """Return a trial with the accuracy after each epoch; the last one is also the final one."""
    records = [EvaluationRecord(n, n, a, a) for n, a in enumerate(accuracies, start=1)]
    final = EvaluationRecord(None, 9, accuracies[-1], accuracies[-1])
    spec = order(rate, repeat, epochs=len(accuracies), **changes)
    return make_outcome(spec, epoch_s, evaluations=[*records, final])


def rates(cells: list[Any]) -> list[object]:
    return [cell.variation["learning_rate"] for cell in cells]


def test_settings_are_ranked_by_accuracy_and_by_time_to_the_target() -> None:
    found = rank(
        [
            *(outcome(0.1, r, 0.80, 0.91 + r / 100) for r in (1, 2)),
            *(outcome(0.3, r, 0.93, 0.95 + r / 100, epoch_s=3.0) for r in (1, 2)),
            *(outcome(0.5, r, 0.91, 0.90 + r / 100, epoch_s=1.0) for r in (1, 2)),
        ],
        0.90,
    )
    assert found
    assert rates(found.cells) == [0.3, 0.1, 0.5]
    assert [cell.rank_by_accuracy for cell in found.cells] == [1, 2, 3]
    best, second, third = found.cells
    assert best.behind is None
    assert second.behind
    assert second.behind.mean == pytest.approx(0.04)
    assert second.behind.half_width == pytest.approx(0.0)
    assert rates(found.by_time()) == [0.5, 0.3, 0.1]
    epochs = [cell.epochs_to_target.mean for cell in found.by_time() if cell.epochs_to_target]
    assert epochs == [1, 1, 2]
    # Epochs of worker:0 lie 10 ms below the mean of three workers, and 10 ms around it.
    assert third.time_to_target_s
    assert third.time_to_target_s.mean == pytest.approx(1.0 - 0.01 - 0.01)


def test_a_setting_of_which_trials_diverged_or_fell_short_has_no_rank() -> None:
    found = rank(
        [
            outcome(0.1, 1, 0.90, 0.92),
            outcome(0.1, 2, 0.90, 0.94),
            outcome(0.8, 1, 0.95, 0.99),
            make_diverged(order(0.8, 2)),
            make_diverged(order(0.9, 1)),
            make_failed(order(0.9, 2)),
        ],
        0.93,
    )
    assert found
    assert rates(found.cells) == [0.1, 0.8, 0.9]
    assert [cell.rank_by_accuracy for cell in found.cells] == [1, None, None]
    assert [(cell.reached, cell.trials) for cell in found.cells] == [(1, 2), (1, 2), (0, 1)]
    assert {cell.rank_by_time for cell in found.cells} == {None}
    assert found.cells[2].test_accuracy is None


def test_the_target_is_what_half_of_the_settings_reach() -> None:
    assert default_target([{1: 0.5}, {1: 0.97, 2: 0.971}, {1: 0.99}]) == 0.97
    assert default_target([{1: 0.1}, {}, {1: 0.955}, {1: 0.962}]) == 0.1
    assert default_target([{}, {}]) is None
    assert default_target([]) is None
    assert rank([make_failed(order(0.1))]) is None


def test_each_setting_is_a_cell_compared_with_its_own() -> None:
    base = {0.1: 2.0, 0.3: 3.0}
    outcomes = [
        make_outcome(
            order(rate, repeat, protocol), base[rate] * (1.1 if protocol == "dc-sgd" else 1)
        )
        for rate in base
        for repeat in (1, 2)
        for protocol in ("downpour", "dc-sgd")
    ]
    planned = {o.order.cell for o in outcomes} | {CellKey(4, "downpour", (("learning_rate", 9.0),))}
    analysis = analyse(
        outcomes, make_context(planned_nodes=[4], planned_repeats=2), planned=planned
    )
    assert analysis.varied == {"learning_rate": [0.1, 0.3, 9.0]}
    assert [cell.n for cell in analysis.cells] == [2, 2, 0, 2, 2]
    assert [over.variation["learning_rate"] for over in analysis.overhead] == [0.1, 0.3]
    for over in analysis.overhead:
        assert over.measured
        assert over.measured.percent == pytest.approx(10.0)
    assert analysis.warnings == []


def test_other_settings_than_those_that_vary_are_still_not_mixed() -> None:
    with pytest.raises(ResultsError, match="batch_size is 7"):
        analyse([outcome(0.1, 1, 0.9), outcome(0.3, 1, 0.9, batch_size=7)], make_context())


def test_one_process_of_the_same_setting_is_what_a_speedup_is_over() -> None:
    alone = [
        make_outcome(
            make_order(
                1,
                ProtocolSpec("sequential", learning_rate=rate),
                varied=("learning_rate",),
                id=f"n01-{rate}-{repeat}",
                repeat=repeat,
                parameter_servers=0,
            ),
            seconds,
        )
        for rate, seconds in ((0.1, 3.0), (0.3, 6.0))
        for repeat in (1, 2)
    ]
    spread = [
        make_outcome(order(rate, repeat=repeat), 3.0) for rate in (0.1, 0.3) for repeat in (1, 2)
    ]
    planned = [o.order.cell for o in (*alone, *spread)]
    analysis = analyse([*alone, *spread], make_context(), planned=planned)
    speedups = [cell.speedup.ratio for cell in analysis.cells if cell.speedup]
    assert speedups == [pytest.approx(3.0), pytest.approx(6.0)]
