"""The cost of a sweep, checked against the published experiment: 40 trials of 20 x 3.5 s."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import subprocess
import sys
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec
import pytest

from dnnbench.cost import (
    Basis,
    SweepCost,
    basis_of_book,
    basis_of_own_hardware,
    basis_of_own_hosts,
    cost_of_sweep,
    load_book,
    table_1,
)
from dnnbench.cost.render import CostDocument, render, render_markdown
from dnnbench.cost.tables import usd
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.text.screen import Screen
from dnnbench.trial.outcome import (
    EpochRecord,
    EvaluationRecord,
    Staleness,
    Status,
    TrialOutcome,
)
from dnnbench.trial.spec import DataSpec, ModelSpec, ProtocolName, ProtocolSpec, TrialSpec


def trial(
    nodes: int = 4,
    protocol: ProtocolName = "downpour",
    *,
    epoch_s: float = 3.5,
    epochs: int = 20,
    duration_s: float = 70.0,
    status: Status = "ok",
    accuracies: dict[int | None, float] | None = None,
) -> TrialOutcome:
    order = TrialSpec(
        id="t",
        sweep="s",
        nodes=nodes,
        parameter_servers=1,
        repeat=1,
        seed=1,
        data=DataSpec("mnist", None, ""),
        model=ModelSpec(),
        protocol=ProtocolSpec(name=protocol),
    )
    return TrialOutcome(
        order=order,
        status=status,
        started_at="2017-08-15T00:00:00Z",
        duration_s=duration_s,
        training_s=60.0,
        epochs=[
            EpochRecord("worker:0", epoch, 1, 1, epoch_s, 0.0, 0.0, 0.0, Staleness([]))
            for epoch in range(1, epochs + 1)
        ],
        evaluations=[
            EvaluationRecord(epoch, 1, 0.0, accuracy)
            for epoch, accuracy in (accuracies or {}).items()
        ],
    )


def experiment(nodes: int) -> list[TrialOutcome]:
    return [trial(nodes, protocol) for protocol in ("downpour", "dc-sgd") for _ in range(20)]


def basis(disk_gb: int = 0, billed_on: dt.date | None = None) -> Basis:
    return basis_of_book(load_book("gcp-2017-08"), disk_gb=disk_gb, billed_on=billed_on)


def rounded(amount: Decimal | None, places: str) -> str:
    assert amount is not None
    return str(amount.quantize(Decimal(places), ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("nodes", "per_epoch", "node_time", "new_machines"),
    [
        (4, "0.000739", "0.591", "5.07"),
        (8, "0.001478", "1.182", "10.13"),
        (12, "0.002217", "1.773", "15.20"),
    ],
)
def test_the_published_experiment_costs_what_was_worked_out_by_hand(
    nodes: int, per_epoch: str, node_time: str, new_machines: str
) -> None:
    cost = cost_of_sweep(experiment(nodes), basis())
    assert [rounded(cell.usd_per_epoch, "0.000001") for cell in cost.cells] == [per_epoch] * 2
    assert rounded(cost.list_usd, "0.001") == node_time
    assert rounded(cost.new_machines_usd, "0.01") == new_machines


def test_machines_kept_for_the_sweep_are_billed_once_for_the_largest_node_count() -> None:
    cost = cost_of_sweep(experiment(4) + experiment(8) + experiment(12), basis())
    assert (cost.kept_machines, cost.kept_s) == (12, Decimal(120 * 70))
    assert cost.kept_usd == 12 * Decimal("0.19") * 8400 / 3600
    one = cost_of_sweep([trial(12)], basis())
    assert one.kept_usd == one.new_machines_usd == 12 * Decimal("0.19") * 600 / 3600


def test_after_september_2017_new_machines_cost_no_more_than_node_time() -> None:
    cost = cost_of_sweep(experiment(4), basis(billed_on=dt.date(2017, 12, 1)))
    assert rounded(cost.new_machines_usd, "0.000001") == rounded(cost.list_usd, "0.000001")


def test_a_disk_is_priced_by_the_hour_and_a_book_without_disk_prices_says_so() -> None:
    with_disk = basis(disk_gb=20)
    assert with_disk.disk_usd_per_hour == 20 * Decimal("0.04") / 730
    assert with_disk.rate.usd_per_hour == Decimal("0.19") + with_disk.disk_usd_per_hour
    without = basis_of_book(load_book("aws-2026-07"), "m5.xlarge", disk_gb=20)
    assert (without.disk_gb, without.disk_usd_per_hour) == (0, Decimal(0))
    text = render_markdown(table_1(), cost_of_sweep([trial()], without))
    assert "Not included: persistent disk, GPU" in text


def test_a_year_gets_the_discount_of_whole_months_and_the_disk_does_not() -> None:
    cost = cost_of_sweep([trial(4), trial(12)], basis(disk_gb=20))
    machine = 8760 * Decimal("0.19") * Decimal("0.7")
    disk = 12 * 20 * Decimal("0.04")
    assert {n: rounded(usd, "0.01") for n, usd in cost.year_usd.items()} == {
        4: rounded(4 * (machine + disk), "0.01"),
        12: rounded(12 * (machine + disk), "0.01"),
    }


def test_a_trial_that_was_not_run_costs_nothing_but_is_counted() -> None:
    not_run = trial(nodes=12, duration_s=0.0, epochs=0, status="not run")
    alone, cost = cost_of_sweep([trial()], basis()), cost_of_sweep([trial(), not_run], basis())
    assert (alone.not_run, cost.not_run) == (0, 1)
    assert msgspec.structs.replace(cost, not_run=0) == alone
    text = render_markdown(table_1(), cost)
    assert "1 more trial was not run and cost nothing." in text
    with pytest.raises(ResultsError, match="none that ran"):
        cost_of_sweep([not_run], basis())


def test_a_trial_that_failed_is_in_the_bill_and_not_in_the_means() -> None:
    failed = trial(epoch_s=99.0, epochs=1, duration_s=30.0, status="failed")
    cost = cost_of_sweep([trial(), trial(), failed], basis())
    cell = cost.cells[0]
    assert (cell.finished, cell.unfinished, cell.epoch_s) == (2, 1, 3.5)
    assert cell.usd_per_trial == 4 * Decimal("0.19") * 70 / 3600
    assert cell.list_usd == 4 * Decimal("0.19") * 170 / 3600
    assert rounded(cell.new_machines_usd, "0.000001") == "0.380000"
    assert "1 of 3 trials did not finish" in render_markdown(table_1(), cost)


def test_attempts_that_were_repeated_are_named_beside_the_bill() -> None:
    again = [trial(duration_s=30.0, status="failed"), trial(duration_s=12.0, status="interrupted")]
    cost = cost_of_sweep([trial()], basis(), earlier=again)
    assert cost.list_usd == cost_of_sweep([trial()], basis()).list_usd
    text = render_markdown(table_1(), cost)
    assert "Nor are 2 earlier attempts at trials that were begun again (42 s)." in text


def test_where_no_trial_finished_there_is_a_bill_and_no_mean() -> None:
    cell = cost_of_sweep([trial(status="failed")], basis()).cells[0]
    assert (cell.epoch_s, cell.usd_per_epoch, cell.usd_per_trial) == (None, None, None)
    assert cell.list_usd


def test_cost_to_accuracy_counts_training_up_to_the_first_epoch_that_reaches_it() -> None:
    trials = [
        trial(accuracies={1: 0.90, 2: 0.97, 3: 0.95, None: 0.99}),  # reached after 2 x 3.5 s
        trial(accuracies={1: 0.90, None: 0.98}),  # only at the end, after 60 s
        trial(accuracies={1: 0.90, None: 0.96}),
        trial(accuracies={1: 0.99}, status="failed"),
    ]
    target = cost_of_sweep(trials, basis(), target_accuracy=0.97).cells[0].target
    assert target is not None
    assert (target.reached, target.trials) == (2, 3)
    assert target.usd == 4 * Decimal("0.19") * Decimal("33.5") / 3600


def test_a_diverged_trial_is_one_that_did_not_reach_the_target() -> None:
    trials = [trial(accuracies={None: 0.98}), trial(status="diverged")]
    target = cost_of_sweep(trials, basis(), target_accuracy=0.97).cells[0].target
    assert target is not None
    assert (target.reached, target.trials) == (1, 2)


def test_a_target_that_was_not_reached_has_no_cost() -> None:
    cost = cost_of_sweep([trial(accuracies={1: 0.9})], basis(), target_accuracy=0.97)
    assert cost.cells[0].target is not None
    assert cost.cells[0].target.usd is None
    assert "0/1" in render_markdown(table_1(), cost)


def test_own_hardware_has_one_flat_price_and_no_rules() -> None:
    cost = cost_of_sweep([trial(4)], basis_of_own_hardware("0.36"))
    assert cost.list_usd == cost.kept_usd == cost.new_machines_usd == Decimal("0.028")
    assert cost.year_usd == {4: 4 * 8760 * Decimal("0.36")}


def on_hosts(nodes: int, *hosts: str, **changes: Any) -> TrialOutcome:
    tasks = ["ps:0", *(f"worker:{index}" for index in range(nodes - 1))]
    placement = dict(zip(tasks, itertools.cycle(hosts), strict=False))
    return msgspec.structs.replace(trial(nodes, **changes), placement=placement)


def test_hosts_with_prices_of_their_own_are_paid_once_each_for_the_time_they_took_part() -> None:
    own = basis_of_own_hosts({"a": 0.36, "b": "0.72", "c": 3.6, "idle": 9})
    trials = [
        on_hosts(4, "a", "b", accuracies={1: 0.99}),
        on_hosts(4, "a", "b", duration_s=30.0, status="failed"),
        on_hosts(8, "a", "b", "c", duration_s=100.0),
    ]
    cost = cost_of_sweep(trials, own, target_accuracy=0.97)
    four, eight = cost.cells
    second = Decimal("1.08") / 3600
    assert four.usd_per_trial == 70 * second
    assert four.list_usd == four.new_machines_usd == 100 * second
    assert four.usd_per_epoch == Decimal("3.5") * second
    assert four.target is not None
    assert four.target.usd == Decimal("3.5") * second
    assert eight.list_usd == 100 * Decimal("4.68") / 3600
    assert (cost.kept_machines, cost.kept_usd) == (3, 200 * Decimal("4.68") / 3600)
    assert cost.year_usd == {4: 8760 * Decimal("1.08"), 8: 8760 * Decimal("4.68")}


def test_trials_of_a_cell_on_other_hosts_are_priced_by_theirs() -> None:
    own = basis_of_own_hosts({"a": 1, "b": 2, "c": 4})
    cost = cost_of_sweep([on_hosts(4, "a", "b"), on_hosts(4, "a", "c")], own)
    assert cost.cells[0].usd_per_trial == 4 * Decimal(70) / 3600


def at(second: int, duration_s: float, *hosts: str) -> TrialOutcome:
    outcome = on_hosts(2, *hosts, duration_s=duration_s)
    started_at = f"2017-08-15T00:{second // 60:02}:{second % 60:02}+00:00"
    return msgspec.structs.replace(outcome, started_at=started_at)


def test_trials_side_by_side_keep_all_hosts_for_the_time_in_which_any_ran() -> None:
    trials = [
        at(0, 100.0, "a", "b"),
        at(10, 60.0, "c", "d"),
        at(75, 50.0, "c", "d"),  # 25 s of it alone
        at(200, 10.0, "a", "b"),
    ]
    cost = cost_of_sweep(trials, basis_of_own_hosts(dict.fromkeys("abcd", 1)))
    assert (cost.kept_s, cost.kept_machines) == (Decimal(135), 4)
    assert cost.kept_usd == 135 * Decimal(4) / 3600
    assert cost_of_sweep(trials, basis()).kept_machines == 4


def test_trials_in_turn_keep_machines_for_the_sum_of_their_durations() -> None:
    trials = [at(0, 10.9, "a", "b"), at(10, 5.5, "a", "b"), at(16, 4.0, "a", "c")]
    cost = cost_of_sweep(trials, basis())
    assert (cost.kept_s, cost.kept_machines) == (Decimal("20.4"), 2)


def test_the_hosts_own_prices_are_said_to_be_so() -> None:
    own = basis_of_own_hosts({"a": 0.36, "b": 0.36, "c": 1.2})
    text = render_markdown(table_1(), cost_of_sweep([on_hosts(4, "a", "b", "c")], own))
    for line in (
        "USD: time x the sum of the prices of the hosts that took part, no minimum.",
        "Prices: the hosts' own prices, 2 at 0.36, 1 at 1.2 USD per hour, no extras, no discount.",
        "Measured with up to 2 nodes on one host, which is paid once.",
        "3 machines kept for the whole sweep",
    ):
        assert line in text
    with pytest.raises(ConfigError, match="price of b: expected a number above 0"):
        basis_of_own_hosts({"a": 1, "b": -1})


def test_what_cannot_be_priced_is_refused() -> None:
    with pytest.raises(ResultsError, match="at least one trial"):
        cost_of_sweep([], basis())
    with pytest.raises(ConfigError, match="accuracy above 0 and up to 1, found 97"):
        cost_of_sweep([trial()], basis(), target_accuracy=97)
    paced = msgspec.structs.replace(trial().order, pace_ms=80.0)
    with pytest.raises(ResultsError, match="paced to 80 ms; a wait on purpose tells no machine"):
        cost_of_sweep([trial(), msgspec.structs.replace(trial(), order=paced)], basis())
    with pytest.raises(ConfigError, match="above 0, found '-1'"):
        basis_of_own_hardware(-1)
    with pytest.raises(ConfigError, match="disk"):
        basis(disk_gb=-1)


def test_an_epoch_that_is_cut_short_is_priced_as_a_whole_one() -> None:
    whole = trial()
    data = msgspec.structs.replace(whole.order.data, train_examples=55_000)
    order = msgspec.structs.replace(whole.order, data=data, epoch_steps=55)
    assert order.passes_per_epoch == pytest.approx(0.1)
    (before,) = cost_of_sweep([whole], basis()).cells
    (after,) = cost_of_sweep([msgspec.structs.replace(whole, order=order)], basis()).cells
    assert before.epoch_s is not None
    assert after.epoch_s == pytest.approx(10 * before.epoch_s)
    assert after.list_usd == before.list_usd  # what was paid for is what was run


def test_the_prices_used_stay_with_the_result() -> None:
    document = CostDocument(table_1(), cost_of_sweep([trial()], basis(disk_gb=20)))
    text = msgspec.json.encode(document)
    assert msgspec.json.decode(text, type=CostDocument) == document
    frozen = json.loads(text)["sweep"]["basis"]
    assert (frozen["book"], frozen["as_of"]) == ("gcp-2017-08", "2017-08-01")
    assert frozen["machine_usd_per_hour"] == "0.1900"


def shown(sweep: SweepCost | None, width: int) -> str:
    return render(table_1(), sweep, Screen(width))


@pytest.mark.parametrize("with_sweep", [True, False])
def test_terminal_and_markdown_say_the_same(with_sweep: bool) -> None:
    cost = cost_of_sweep(experiment(4), basis(disk_gb=20), target_accuracy=0.97)
    sweep = cost if with_sweep else None
    terminal = shown(sweep, 400)
    for line in render_markdown(table_1(), sweep).splitlines():
        if line not in ("# dnnbench cost", "## Prices"):
            for cell in re.split(r" \| |<br>|\*\*: ", line.strip("#-|* :")):
                assert cell.strip(" -:|*") in terminal


@pytest.mark.parametrize("width", [80, 100])
def test_table_1_keeps_each_row_whole_and_explains_it_beneath(width: int) -> None:
    lines = [" ".join(line.split()) for line in shown(None, width).splitlines()]
    assert max(map(len, lines)) <= width
    assert "N1-standard-1 / 4 4 15 0 1,272.17 5,088.68 +3,816.51" in lines
    assert "N1-standard-1 / 4: priced for one machine, not 4." in lines
    assert "local SSD left out; VRAM is 12 GB, not 24" in " ".join(lines)


@pytest.mark.parametrize("book", ["gcp-2017-08", "aws-2026-07"])
def test_every_price_book_tells_its_sources_and_assumptions_once(book: str) -> None:
    priced = basis_of_book(load_book(book), "m5.xlarge" if "aws" in book else "n1-standard-4")
    text = render_markdown(table_1(), cost_of_sweep([trial()], priced))
    for name in {"gcp-2017-08", book}:
        used = load_book(name)
        for line in (f"{used.name}, as of {used.as_of}, USD,", *used.sources, *used.assumptions):
            assert text.count(line) == 1
    assert text.count("**Price book**") == (1 if book == "gcp-2017-08" else 2)


def test_a_sweep_names_itself_its_data_book_machine_price_disk_and_gpu() -> None:
    book = load_book("gcp-2026-08")
    cost = cost_of_sweep([trial()], basis_of_book(book, "g2-standard-4"))
    text = render_markdown(table_1(), cost)
    assert "- **Sweep**: s\n- **Data**: mnist\n" in text
    assert "Cost of the sweep by node count and protocol (mnist)" in text
    assert "price book gcp-2026-08, as of 2026-08-03" in text
    assert "gcp-2026-08, as of 2026-08-03, USD, us-central1" in text
    assert "g2-standard-4 at 0.706832255 USD/h; its GPU (1 L4), in that price" in text
    assert "Not included: persistent disk" in text
    assert "Must not be pro-rated" in text


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1234.565", "1,234.57"), ("0.00073888", "0.000739"), ("0.591", "0.591"), ("0", "0.00")],
)
def test_amounts_are_rounded_to_the_cent_and_below_a_dollar_to_three_figures(
    amount: str, text: str
) -> None:
    assert usd(Decimal(amount)) == text


def test_importing_cost_loads_nothing_heavy() -> None:
    heavy = ["tensorflow", "numpy", "rich", "tabulate", "matplotlib", "platformdirs"]
    code = f"import sys, dnnbench.cost; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nodes_that_shared_a_host_are_said_to_have_done_so() -> None:
    placement = dict.fromkeys(["ps:0", "worker:0", "worker:1"], "a") | {"worker:2": "b"}
    shared = msgspec.structs.replace(trial(), placement=placement)
    spread = msgspec.structs.replace(trial(), placement={"ps:0": "a", "worker:0": "b"})
    basis = basis_of_own_hardware(Decimal(1))
    note = "Measured with up to 3 nodes on one host"
    assert note in render_markdown(table_1(), cost_of_sweep([shared], basis))
    assert "nodes on one host" not in render_markdown(table_1(), cost_of_sweep([spread], basis))
