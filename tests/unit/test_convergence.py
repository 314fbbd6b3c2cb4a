"""The convergence experiment: its plan, its statistics and its document, on made-up outcomes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from scipy import stats
from support.factories import make_diverged, make_failed, make_outcome
from support.fake_sweep import FakeSource

from benchmarks.convergence import experiment, pictures
from benchmarks.convergence.__main__ import main
from benchmarks.convergence.comparisons import (
    Cells,
    at_best_rates,
    at_every_rate,
    compare,
    kept_over_all_rates,
    over_all_rates,
    stable_up_to,
)
from benchmarks.convergence.experiment import PROTOCOLS, Experiment
from benchmarks.convergence.layout import difference_text
from benchmarks.convergence.sections import sections
from benchmarks.convergence.significance import delay_factor, holm, median_or_none, rank_test
from benchmarks.convergence.trials import Conditions, Figures, Trial, collect, read, write
from benchmarks.processes import BenchmarkError
from dnnbench.data.locate import locate
from dnnbench.trial.outcome import EvaluationRecord

if TYPE_CHECKING:
    from benchmarks.convergence.comparisons import Cell
    from benchmarks.convergence.trials import Result

SMALL = Experiment(
    datasets=("synthetic-mnist",), nodes=(3, 2), rates=(0.1, 0.5), seeds=2, epochs=2, batch_size=500
)
DATA = {"synthetic-mnist": locate("synthetic-mnist").order}


def test_every_rate_has_the_same_seeds_and_sequential_runs_once_for_each() -> None:
    blocks = SMALL.blocks()
    assert [(b.nodes, b.seed, b.rate) for b in blocks[4:9]] == [
        (3, 2017, 0.1),
        (3, 2017, 0.5),
        (3, 2018, 0.1),
        (3, 2018, 0.5),
        (2, 2017, 0.1),
    ]
    assert [block.nodes for block in blocks[:4]] == [1, 1, 1, 1]
    assert len({block.name for block in blocks}) == len(blocks) == 12
    cells: Counter[tuple[int, str, float]] = Counter()
    for block in blocks:
        store_settings = block.resolved(Path("results")).config
        assert store_settings.train.epoch == "sharded"
        assert store_settings.train.warmup_steps == 0
        for cell in store_settings.sweep.cells:
            cells[cell.nodes, cell.protocol, block.rate] += 1
    asynchronous = [(n, p) for n in SMALL.nodes for p in PROTOCOLS if p != "sequential"]
    expected = [(1, "sequential"), *asynchronous]
    assert cells == {(n, p, rate): 2 for n, p in expected for rate in SMALL.rates}


def test_equal_seeds_start_from_the_same_parameters_whatever_the_rate(tmp_path: Path) -> None:
    seeds: dict[int, set[int]] = {}
    for block in SMALL.blocks():
        orders = block.store(tmp_path, DATA[block.dataset]).plan.orders
        seeds.setdefault(block.seed, set()).update(order.seed for order in orders)
    assert [len(found) for found in seeds.values()] == [1, 1]


def test_the_same_command_resumes_and_a_larger_experiment_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiment, "LocalAgents", FakeSource)
    smaller = msgspec.structs.replace(SMALL, seeds=1, nodes=(3,))
    assert experiment.run(smaller, tmp_path, DATA) == []
    assert capsys.readouterr().err.count(": ok, ") == 2 * len(PROTOCOLS)
    assert experiment.run(smaller, tmp_path, DATA) == []
    assert capsys.readouterr().err == ""
    assert experiment.run(SMALL, tmp_path, DATA) == []
    assert capsys.readouterr().err.count(": ok, ") == 2 * (6 + 5 + 5)


def test_a_sweep_with_other_settings_is_not_taken_for_a_block(tmp_path: Path) -> None:
    block = SMALL.blocks()[4]
    stored = block.store(tmp_path, DATA[block.dataset])
    assert block.store(tmp_path, DATA[block.dataset]).plan == stored.plan
    other = msgspec.structs.replace(SMALL, protocols=("downpour",)).blocks()[0]
    with pytest.raises(BenchmarkError, match=r"has other settings or data; give another --res"):
        other.store(tmp_path, DATA[block.dataset])


def store_outcomes(tmp_path: Path, *makers: Any) -> None:
    """Store one block with one made-up outcome per protocol, from these functions in turn."""
    block = msgspec.structs.replace(SMALL, protocols=PROTOCOLS[1:]).blocks()[0]
    store = block.store(tmp_path, DATA[block.dataset])
    orders = sorted(store.plan.orders, key=lambda order: PROTOCOLS.index(order.protocol.name))
    for order, make in zip(orders, makers, strict=False):
        store.append(make(order))


def make_stuck(order: Any) -> Any:
    """Return an outcome whose accuracy is that of chance."""
    final = EvaluationRecord(None, 9, 0.1, 0.1135, chance_accuracy=0.123)
    return make_outcome(order, evaluations=[final])


def test_outcomes_become_figures_and_failed_ones_are_only_counted(tmp_path: Path) -> None:
    one_process = SMALL.blocks()[0].store(tmp_path, DATA["synthetic-mnist"])
    one_process.append(make_outcome(one_process.plan.orders[0]))
    store_outcomes(tmp_path, make_diverged, make_stuck, make_failed)
    figures = collect(tmp_path)
    assert figures.conditions.unfinished == 1
    assert (figures.conditions.passes, figures.conditions.batch_size) == (2, 500)
    by_protocol = {trial.protocol: trial for trial in figures.trials}
    assert sorted(by_protocol) == ["downpour", "sequential", "sync"]
    good, stuck, lost = (by_protocol[name] for name in ("sequential", "downpour", "sync"))
    assert (good.result, good.test_error, good.validation_error) == ("ok", 4.5, 4.0)
    assert good.errors == [10.0, 9.0]
    assert good.seconds == pytest.approx([3.49, 7.0])
    assert good.cpu_s == pytest.approx([25e-6 * 55_000, 50e-6 * 55_000])
    assert (good.seed, good.rate, good.nodes) == (2017, 0.1, 1)
    assert stuck.result == "did not learn"
    assert stuck.test_error == pytest.approx(88.65)
    assert (lost.result, lost.test_error, lost.errors) == ("diverged", None, [])
    write(figures, tmp_path / "figures.json")
    assert read(tmp_path / "figures.json") == figures


def test_sweeps_of_different_length_are_not_mixed(tmp_path: Path) -> None:
    store_outcomes(tmp_path, make_outcome)
    longer = msgspec.structs.replace(SMALL, epochs=3).blocks()[0]
    store = longer.store(tmp_path, DATA[longer.dataset])
    store.append(make_outcome(store.plan.orders[0]))
    with pytest.raises(BenchmarkError, match="mixes settings"):
        collect(tmp_path)


def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "--results-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} has no trial with a result\n"
    assert main(["document", "--figures", str(tmp_path / "none.json")]) == 1
    error = capsys.readouterr().err
    assert "none.json" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("sizes", [(5, 5), (3, 6), (2, 2)])
def test_the_rank_test_is_the_permutation_test_of_scipy(sizes: tuple[int, int]) -> None:
    rng = random.Random(sum(sizes))
    for _ in range(5):
        a, b = ([float(rng.randrange(6)) for _ in range(n)] for n in sizes)
        ranks = stats.rankdata([*a, *b])
        expected = stats.permutation_test(
            (ranks[: len(a)], ranks[len(a) :]),
            lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
            n_resamples=np.inf,
        )
        assert rank_test([(a, b)])[0] == pytest.approx(expected.pvalue)


def test_without_ties_the_rank_test_is_that_of_wilcoxon() -> None:
    a, b = [1.1, 2.2, 3.3, 7.7], [4.4, 5.5, 6.6, 8.8, 9.9]
    p, smaller = rank_test([(a, b)])
    assert p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)
    assert smaller
    assert rank_test([(b, a)]) == (p, False)


def test_pooled_rates_are_permuted_within_each() -> None:
    apart = [1.0, 2.0], [3.0, 4.0]
    assert rank_test([apart])[0] == pytest.approx(2 / 6)
    assert rank_test([apart, apart])[0] == pytest.approx(2 / 36)
    assert rank_test([apart, apart[::-1]])[0] == 1.0
    # Each rate has the same values; pooled into one they would tell nothing.
    shifted = [101.0, 102.0], [103.0, 104.0]
    assert rank_test([apart, shifted])[0] == pytest.approx(2 / 36)


def test_holm_is_as_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_median_counts_what_is_missing_as_largest() -> None:
    assert median_or_none([3, None, 1]) == 3
    assert median_or_none([1, None]) is None
    assert median_or_none([1, 2]) == 1.5
    assert median_or_none([]) is None


@pytest.mark.parametrize("staleness", [0, 1, 2, 6, 10])
def test_a_delayed_quadratic_is_stable_up_to_the_given_rate(staleness: int) -> None:
    limit = 2 * delay_factor(staleness)

    def largest_root(rate: float) -> float:
        polynomial = np.zeros(staleness + 2)
        polynomial[0] = 1.0
        polynomial[1] -= 1.0
        polynomial[-1] += rate
        return float(np.abs(np.roots(polynomial)).max())

    assert largest_root(0.99 * limit) < 1.0 < largest_root(1.01 * limit)


def make_trial(
    protocol: str, rate: float, seed: int, error: float | None, result: Result = "ok"
) -> Trial:
    wrong = [] if error is None else [error + 2, error]
    return Trial(
        dataset="mnist",
        nodes=1 if protocol == "sequential" else 12,
        protocol=protocol,
        rate=rate,
        seed=seed,
        result=result,
        test_error=error,
        validation_error=error,
        errors=wrong,
        seconds=[1.0, 2.0],
        cpu_s=[3.0, 4.0],
        staleness=9.5,
        staleness_p95=12,
        staleness_max=80 + seed,
        compensation=0.02 if protocol.startswith("dc") else None,
    )


def make_figures() -> Figures:
    """At 0.3, two of Downpour's trials are lost; dc-sgd-a has all; dc-sgd-c loses four."""
    trials = []
    for seed in range(5):
        for protocol, at_low, at_high in (
            ("sequential", 4.0, 3.0),
            ("sync", 9.0, 7.0),
            ("downpour", 5.0, 11.0),
            ("dc-sgd-c", 5.01, 12.0),
            ("dc-sgd-a", 4.5, 5.0),
            ("staleness-aware", 8.0, 7.5),
        ):
            jitter = seed / 50
            trials.append(make_trial(protocol, 0.1, seed, at_low + jitter))
            lost = (protocol == "downpour" and seed < 2) or (protocol == "dc-sgd-c" and seed < 4)
            result: Result = "ok" if not lost else "diverged" if seed else "did not learn"
            high = {"ok": at_high + jitter, "did not learn": 80.0, "diverged": None}[result]
            trials.append(make_trial(protocol, 0.3, seed, high, result))
    conditions = Conditions(
        passes=2,
        batch_size=100,
        first_at="2026-11-25T20:00:00+00:00",
        last_at="2026-11-25T21:00:00+00:00",
        cpu_model="a processor",
        cores=2.0,
        kernel="Linux 6.1",
        versions={"tensorflow": "2.21.0"},
        commits=["abc"],
        load_average=(0.1, 9.9),
        unfinished=1,
    )
    return Figures(conditions, list(Trial.__struct_fields__), trials)


CELLS = Cells(make_figures().trials)


def cell(protocol: str, rate: float) -> Cell:
    found = CELLS.get("mnist", 12, protocol, rate)
    assert found
    return found


def test_a_data_set_without_anything_to_compare_is_left_out() -> None:
    alone = msgspec.structs.replace(make_trial("sequential", 0.1, 0, 4.0), dataset="fashion-mnist")
    assert Cells([*make_figures().trials, alone]).datasets == ["mnist"]


def test_sequential_has_its_best_rate_whatever_the_others_were_tried_at() -> None:
    more = make_trial("sequential", 0.9, 0, 2.0)
    best = Cells([*make_figures().trials, more]).best("mnist", 12, "sequential")
    assert best
    assert best.key.rate == 0.9


@pytest.mark.parametrize(
    ("value", "text"), [(1.234, "+1.23"), (-0.5, "-0.50"), (-0.001, "0.00"), (0.0, "0.00")]
)
def test_a_difference_has_a_sign_unless_it_rounds_to_zero(value: float, text: str) -> None:
    assert difference_text(value) == text


def test_a_lost_trial_is_counted_but_not_averaged() -> None:
    downpour = cell("downpour", 0.3)
    assert downpour.counts == {"ok": 3, "did not learn": 1, "diverged": 1}
    assert downpour.error
    assert downpour.error.n == 3
    assert downpour.error.mean == pytest.approx(11.06)
    assert CELLS.best("mnist", 12, "downpour") == cell("downpour", 0.1)
    assert stable_up_to(CELLS, "mnist", 12, "downpour") == 0.1
    assert stable_up_to(CELLS, "mnist", 12, "dc-sgd-a") == 0.3


def test_complete_cells_are_compared_by_means_and_others_by_ranks() -> None:
    whole = compare(cell("dc-sgd-a", 0.1), cell("downpour", 0.1))
    values = [[t.test_error for t in c.trials] for c in (whole.ours, whole.theirs)]
    expected = stats.ttest_ind(*values, equal_var=False)
    interval = expected.confidence_interval()
    assert whole.method == "welch"
    assert whole.difference == pytest.approx(-0.5)
    assert (whole.p, whole.low, whole.high) == pytest.approx(
        (expected.pvalue, interval.low, interval.high)
    )
    lossy = compare(cell("dc-sgd-a", 0.3), cell("downpour", 0.3))
    assert (lossy.method, lossy.difference, lossy.better) == ("ranks", None, True)
    assert lossy.p == pytest.approx(2 / 252)  # lost trials rank last: the samples do not overlap
    assert lossy._replace(adjusted=1.0).effect == "keeps trials that Downpour loses"
    fewer = compare(
        cell("dc-sgd-a", 0.1), cell("downpour", 0.1)._replace(trials=lossy.ours.trials[:3])
    )
    assert fewer.effect == fewer.verdict  # fewer trials, but none lost
    worse = compare(cell("dc-sgd-c", 0.3), cell("downpour", 0.3))
    assert (worse.better, worse.effect) == (False, "loses trials that Downpour keeps")


def test_a_variance_is_not_estimated_from_two_trials_or_equal_ones() -> None:
    whole = cell("dc-sgd-a", 0.1)
    two = whole._replace(trials=whole.trials[:2])
    few = compare(two, cell("downpour", 0.1))
    assert (few.method, few.low) == ("ranks", None)
    assert few.difference == pytest.approx(-0.53)
    equal = whole._replace(trials=whole.trials[:1] * 4)
    assert compare(equal, cell("downpour", 0.1)).method == "ranks"


def test_two_cells_without_a_trial_that_learned_are_no_test() -> None:
    lost = [make_trial(p, 0.8, s, None, "diverged") for p in PROTOCOLS for s in range(3)]
    cells = Cells(lost)
    found = at_every_rate(cells, "mnist")
    assert {comparison.verdict for comparison in found} == {"neither learns"}
    assert over_all_rates(cells, "mnist") == []
    assert at_best_rates(cells, "mnist") == []


def test_a_family_of_tests_is_corrected_together() -> None:
    family = at_every_rate(CELLS, "mnist")
    assert len(family) == 6
    assert [c.adjusted for c in family] == holm([c.p for c in family])
    by_cell = {(c.ours.key.protocol, c.ours.key.rate): c.verdict for c in family}
    assert by_cell["dc-sgd-a", 0.1] == "lower error"
    assert by_cell["staleness-aware", 0.1] == "higher error"
    assert by_cell["dc-sgd-c", 0.1] == "no difference shown"
    pooled = {one.protocol: one for one in over_all_rates(CELLS, "mnist")}
    assert pooled["dc-sgd-a"].verdict == "lower error"
    assert pooled["dc-sgd-a"].rates == [0.1, 0.3]


def test_trials_that_learned_are_counted_over_all_rates() -> None:
    kept = {one.protocol: one for one in kept_over_all_rates(CELLS, "mnist")}
    found = kept["dc-sgd-a"]
    assert (found.ours, found.theirs, found.trials) == (10, 8, 10)
    # Fisher's exact test, as only one rate lost any: both of the two lost among ten are theirs.
    assert found.p == pytest.approx(2 * 10 / 45)
    assert (found.adjusted, found.verdict) == (1.0, "no difference shown")
    assert found._replace(adjusted=0.01).verdict == "more learned"
    assert found._replace(adjusted=0.01, ours=0).verdict == "fewer learned"


def rows(table: str, *cells: str) -> list[list[str]]:
    """Return the rows of a table that have all of these cells."""
    found = [[part.strip() for part in line.split("|")[1:-1]] for line in table.splitlines()]
    return [row for row in found if {*cells} <= {*row}]


def test_the_tables_show_the_lost_beside_every_mean() -> None:
    texts = sections(make_figures())
    assert "60 trials" in texts["conditions"]
    assert "1 execution ended without a result" in texts["conditions"]
    assert "mnist (1 node: 5 seeds per cell; 12 nodes: 5 seeds per cell)" in texts["conditions"]
    assert "11.06 ± 0.05 (n = 3, 1 did not learn, 1 diverged)" in texts["errors"]
    assert "12.08 (n = 1, 1 did not learn, 3 diverged)" in texts["errors"]
    assert texts["findings"].startswith(
        "**mnist**\n\n- **12 nodes.** Every trial learned up to a rate of 0.1 under `downpour`, "
        "0.1 under `dc-sgd-c`, 0.3 under `dc-sgd-a`. Over all rates, against `downpour`: "
    )
    assert "`downpour` 5.04 ± 0.04 %, `dc-sgd-c` 5.05 ± 0.04 % (no diff" in texts["findings"]
    (lossy,) = rows(texts["comparisons"], "0.3", "`dc-sgd-a`")
    assert lossy[3:6] == ["5 of 5", "3 of 5", "-"]
    (limit,) = rows(texts["limit"], "12")
    assert limit == ["12", "10", "9.5 ± 0.0", "0.075", "0.1", "0.3"]
    (sequential,) = rows(texts["best"], "`sequential`")
    assert sequential[2] == "0.3, the largest tried"
    (target,) = rows(texts["target"], "`dc-sgd-a`")
    assert target[2:] == ["0.1", "5 of 5", "2", "4.0", "2.0"]
    (late,) = rows(texts["staleness"], "12", "0.1")
    assert late[2:] == ["9.5 ± 0.0", "12", "84", "0.02 (n = 5)", "0.02 (n = 5)"]


def test_the_pictures_are_drawn_and_their_cells_are_told_in_words(tmp_path: Path) -> None:
    pictures.draw(make_figures(), tmp_path)
    for name in (pictures.MAP, pictures.CURVES):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    texts = {
        (c.ours.key.protocol, c.ours.key.rate): pictures.cell_text(c)
        for c in at_every_rate(CELLS, "mnist")
    }
    assert texts["dc-sgd-a", 0.1] == "\N{MINUS SIGN}0.50 *"
    assert texts["dc-sgd-c", 0.3] == "1/5\nagainst 3/5"
