from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.factories import (
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
from dnnbench.analysis.stats import Estimate
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.report import export, markdown, page, terminal
from dnnbench.report.figures.picture import Subject
from dnnbench.report.files import write_figure
from dnnbench.report.rows.table import as_csv
from dnnbench.report.tables import closing_notes, facts, report_tables
from dnnbench.report.typical import epoch_figure, scale
from dnnbench.report.verdict import verdict_text
from dnnbench.report.wording import histogram_text, mean_text
from dnnbench.text.screen import Screen
from dnnbench.text.words import seconds
from dnnbench.trial.outcome import EvaluationRecord
from dnnbench.trial.spec import DataSpec, ProtocolSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.trial.outcome import TrialOutcome

REPLICATED = "one pass of a worker over all training examples; every worker has all of them"
SHARING = "12 roles share 2 cores: 6.0 roles per core"


@pytest.fixture
def analysis() -> Analysis:
    return analyse(make_sweep(), make_context())


@pytest.fixture
def on_hosts() -> Analysis:
    """The sweep of Table 2 as the report ran it, one machine per node."""
    return analyse(*make_sweep_on_hosts())


@pytest.fixture
def of_four_protocols() -> Analysis:
    protocols = ["downpour", "dc-sgd-c", "dc-sgd-a", "staleness-aware"]
    orders = [
        make_order(nodes, protocol, repeat)
        for nodes in (4, 8, 12)
        for protocol in protocols
        for repeat in (1, 2, 3)
    ]
    outcomes = [make_outcome(order, 3.5 + order.repeat / 10) for order in orders]
    return analyse(outcomes, make_context(planned_protocols=protocols))


@pytest.fixture
def damaged() -> Analysis:
    """A sweep with a failed trial, and a cell of one trial."""
    outcomes = [
        outcome
        for outcome in make_sweep()
        if outcome.order.id not in ("n08-downpour-r2", "n08-downpour-r3", "n12-dc-sgd-r2")
    ]
    outcomes.append(make_failed(make_order(12, "dc-sgd", 2), cause="killed <by> the | kernel"))
    return analyse(outcomes, make_context())


@pytest.fixture
def spread_out() -> Analysis:
    """A sweep on 11 hosts of two kinds; the 12th was missing."""
    outcomes = [
        msgspec.structs.replace(outcome, placement=spread(outcome.order))
        if outcome.order.nodes < 12
        else make_not_run(outcome.order)
        for outcome in make_sweep()
    ]
    hosts = make_hosts(11)
    for name in ("node1", "node2"):
        hosts[name] = msgspec.structs.replace(hosts[name], cpu_model="old", cores=0.5)
    return analyse(outcomes, make_context(hosts=hosts, host_cores=37))


def shown(analysis: Analysis, width: int) -> str:
    return terminal.render(analysis, Screen(width))


def short(analysis: Analysis, width: int = 80) -> list[str]:
    return terminal.render_short(analysis, Screen(width)).splitlines()


def words(text: str) -> str:
    return " ".join(word for word in text.split() if word == "-" or word.strip("-"))  # no rules


@pytest.mark.parametrize("width", [80, 100, 120])
def test_table_2_keeps_each_row_on_one_line(on_hosts: Analysis, width: int) -> None:
    text = shown(on_hosts, width)
    assert max(len(line) for line in text.splitlines()) <= width
    rows = [words(line) for line in text.splitlines()]
    assert "4 3.52 ± 0.07 3 3.52 3.59 ± 0.07 3 3.59" in rows
    assert "12 3.55 ± 0.07 3 3.55 3.64 ± 0.07 3 3.64" in rows
    assert "Growth % +0.9 +0.8 +1.4 +1.4" in rows
    assert "\x1b" not in text
    frame = next(line for line in text.splitlines() if "┌" in line)
    assert len(frame.rstrip()) == min(width, 100)


def test_where_the_setting_is_not_the_reports_the_reason_stands_instead(
    analysis: Analysis,
) -> None:
    reason = "4, 8 and 12 nodes are not on hosts of their own"
    for text in (shown(analysis, 80), markdown.render(Subject(analysis))):
        assert f"Not comparable with the published Table 2: {reason}." in words(text)
        assert not re.search(
            r"Table 2: s|published$|\| published|3\.59 *\|? *$", text, re.MULTILINE
        )
    rows = list(csv.DictReader(io.StringIO(as_csv(Subject(analysis)))))
    assert {row["epoch_published_s"] for row in rows} == {""}
    assert {row["not_comparable_with_published"] for row in rows} == {reason}
    document = json.loads(export.as_json(analysis))
    assert document["unlike_report"] == [reason]
    assert {cell["published_epoch_s"] for cell in document["cells"]} == {None}
    for compared in (*document["growth"], *document["overhead"]):
        assert compared["published_percent"] is None


def test_every_table_names_its_data_and_each_note_stands_once(analysis: Analysis) -> None:
    tables = report_tables(analysis)
    assert len(tables) == 10
    assert all("synthetic-mnist" in table.title for table in tables)
    for text in (words(shown(analysis, 80)), markdown.render(Subject(analysis))):
        for note in [*closing_notes(analysis), *(n for table in tables for n in table.notes)]:
            assert text.count(note.removeprefix("±: ")) == 1
    assert REPLICATED in closing_notes(analysis)[0]
    assert all(len(row) == len(t.columns) for t in tables for row in [*t.rows, *t.totals])


@pytest.mark.parametrize("width", [80, 100])
def test_the_short_report_of_the_quick_profile_fits_40_lines(
    analysis: Analysis, on_hosts: Analysis, width: int
) -> None:
    for shown_one in (analysis, on_hosts):
        context = msgspec.structs.replace(shown_one.context, data_note=None)
        lines = short(msgspec.structs.replace(shown_one, context=context), width)
        assert len(lines) <= 40
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("Scales?")
        text = words("\n".join(lines))
        assert "seconds per epoch (synthetic-mnist)" in text.replace("Seconds", "seconds")
        assert "dc-sgd over downpour, 12 nodes +2.5" in text
        assert text.count(REPLICATED) == 1


def test_after_a_run_the_verdict_is_last(analysis: Analysis) -> None:
    first = terminal.render_short(analysis, Screen(80))
    last = terminal.render_short(analysis, Screen(80), is_verdict_last=True)
    assert sorted(first.splitlines()) == sorted(last.splitlines())
    assert last.endswith(verdict_text(analysis, Screen(80)))


def test_the_change_of_cpu_time_is_what_was_seen(analysis: Analysis) -> None:
    text = words(shown(analysis, 80))
    assert (
        "CPU time per example: +0.0 % under downpour from 4 to 12 nodes, +0.0 % under dc-" in text
    )
    outcomes = [
        msgspec.structs.replace(
            outcome,
            epochs=[
                msgspec.structs.replace(record, cpu_s=record.cpu_s * 1.17)
                for record in outcome.epochs
            ],
        )
        if outcome.order.nodes == 12
        else outcome
        for outcome in make_sweep()
    ]
    text = words(shown(analyse(outcomes, make_context()), 80))
    assert "CPU time per example: +17.0 % under downpour from 4 to 12 nodes, +17.0 %" in text


def test_sharing_of_cores_is_stated_plainly(analysis: Analysis) -> None:
    assert SHARING in words(shown(analysis, 80))
    assert SHARING in markdown.render(Subject(analysis))
    roomy = analyse(make_sweep(), make_context(host_cores=16))
    assert "No role shares a core: up to 12 roles on 16 cores." in words(shown(roomy, 80))


def test_a_cell_of_one_trial_and_a_failed_trial_say_so(damaged: Analysis) -> None:
    text = words(shown(damaged, 100))
    assert "3.50 (n = 1) 1 of 3" in text
    assert "n = 1: no interval (downpour at 8 nodes)." in text
    assert "n12-dc-sgd-r2 failed worker:1 on localhost killed <by> the | kernel no" in text
    assert "2 of 3 1 failed" in text
    assert "1 of 3 2 missing" in text


def test_a_mean_over_survivors_says_how_many_did_not_survive() -> None:
    def ended(repeat: int, accuracy: float) -> TrialOutcome:
        outcome = make_outcome(make_order(12, "dc-sgd", repeat))
        final = EvaluationRecord(None, 100, accuracy, accuracy, chance_accuracy=0.123)
        return msgspec.structs.replace(outcome, evaluations=[final])

    context = make_context(
        planned_nodes=[12], planned_protocols=["downpour", "dc-sgd"], planned_repeats=2
    )
    lost = make_diverged(make_order(12, "dc-sgd", 2))
    nothing = [make_diverged(make_order(12, "downpour", repeat)) for repeat in (1, 2)]
    analysis = analyse([ended(1, 0.9618), lost, *nothing], context)
    text = words(shown(analysis, 120))
    assert "12 - (2 diverged) - (2 diverged) 96.18 (n = 1, 1 diverged) 96.18 (n = 1, 1 di" in text
    assert "A diverged trial has no accuracy" in text
    brief = words("\n".join(short(analysis, 120)))
    assert "Excluded: 3 diverged (n12-dc-sgd-r2: loss is not finite at step 12 of epoch 1" in brief
    assert "(1 did not learn)" not in text
    assert "n12-dc-sgd-r2 diverged - loss is not finite at step 12 of epoch 1 (worker:1)" in text
    assert "1 of 2 1 diverged" in text
    (row,) = [
        r
        for r in csv.DictReader(io.StringIO(as_csv(Subject(analysis))))
        if r["protocol"] == "dc-sgd"
    ]
    assert (row["trials_ok"], row["trials_diverged"], row["trials_failed"]) == ("1", "1", "0")

    analysis = analyse([ended(1, 0.9618), ended(2, 0.098)], context)
    text = words(shown(analysis, 120))
    assert "(1 did not learn)" in text
    assert "A trial that did not learn is included in the mean" in text
    assert "n12-dc-sgd-r2: did not learn: test accuracy 9.80%" in text


def test_a_sweep_in_which_every_trial_failed_is_still_reported() -> None:
    analysis = analyse([make_failed(make_order())], make_context(planned_nodes=[4]))
    text = words(shown(analysis, 80))
    assert "4 - 0 of 3 - 0 of 3" in text
    assert "No trial with 4 nodes succeeded." in text
    assert "0 of 3" in markdown.render(Subject(analysis))
    assert as_csv(Subject(analysis)).count("\n") == 3


def test_more_than_two_protocols_have_a_row_each_and_fit_a_terminal(
    of_four_protocols: Analysis,
) -> None:
    table_2, *_ = report_tables(of_four_protocols)
    assert [row[:2] for row in table_2.rows[:2]] == [["4", "downpour"], ["4", "dc-sgd-c"]]
    assert len(table_2.rows) == len(of_four_protocols.cells) == 12
    assert table_2.totals[0][:2] == ["Growth %", "downpour"]
    text = shown(of_four_protocols, 80)
    assert "staleness-aware" in text
    assert "validation %" in text


def test_the_report_names_intervals_and_a_warm_start() -> None:
    protocol = ProtocolSpec("downpour", "adagrad", n_fetch=3, n_push=5, local_rate=0.02)
    order = make_order(4, protocol, epochs=2, warm_start_epochs=1)
    lines = dict(facts(analyse([make_outcome(order)], make_context())))
    assert lines["downpour"].endswith(
        "pull every 3 steps, push every 5 steps, own rate of a worker 0.02"
    )
    assert "after a warm start: 1 epoch of worker:0 alone, not measured" in lines["Trial"]
    plain = dict(facts(analyse([make_outcome(make_order(4, "downpour"))], make_context())))
    assert "every" not in plain["downpour"]
    assert "warm start" not in plain["Trial"]


def test_the_report_says_which_task_ran_on_which_host(spread_out: Analysis) -> None:
    text = words(shown(spread_out, 80))
    assert "Hosts 11 hosts: 2 x old, 0.5 cores; 9 x a processor, 4 cores" in text
    assert "Tasks on each host (synthetic-mnist) 4 nodes 8 nodes Host 6 trials 6 trials" in text
    assert "node1 ps:0 ps:0 node2 worker:0 worker:0 node3 worker:1 worker:1" in text
    assert "node8 - worker:6 Successful" in text
    assert "node9" not in text
    assert "4 roles on 4 hosts: 2.0 roles per core; 8 roles on 8 hosts: 2.0" in text
    lines = re.sub(" +", " ", markdown.render(Subject(spread_out)))
    assert "| node4 | worker:2 | worker:2 |" in lines
    document = json.loads(export.as_json(spread_out))
    small, large = document["placements"]
    assert small["tasks"] == spread(make_order(4))
    assert (large["nodes"], len(large["trials"])) == (8, 6)
    assert document["context"]["hosts"]["node1"]["cores"] == 0.5


def test_trials_that_were_not_run_are_shown_with_host_and_cause(spread_out: Analysis) -> None:
    text = words(shown(spread_out, 80))
    assert "12 downpour 0 of 3 3 not run" in text
    assert "n12-dc-sgd-r2 not run node12 connection refused no" in text
    rows = {
        (row["nodes"], row["protocol"]): row
        for row in csv.DictReader(io.StringIO(as_csv(Subject(spread_out))))
    }
    cell = rows["12", "downpour"]
    assert (cell["trials_not_run"], cell["trials_missing"]) == ("3", "0")


def test_hosts_that_are_one_machine_say_so() -> None:
    outcomes = [
        msgspec.structs.replace(outcome, placement=spread(outcome.order))
        for outcome in make_sweep()
    ]
    hosts = make_hosts(12, cores=2.0, machine="node1", machine_cores=2)
    text = words(shown(analyse(outcomes, make_context(hosts=hosts)), 80))
    assert "Hosts 12 hosts on 1 machine: 1 x a processor, 2 cores" in text
    assert "12 roles on 12 hosts: 6.0 roles per core" in text


def test_warnings_are_visible_in_terminal_and_markdown() -> None:
    outcome = make_outcome(make_order(), updates_applied=[7])
    analysis = analyse([outcome], make_context(planned_nodes=[4]))
    line = "n04-downpour-r1: 3450 updates pushed, but 7 applied"
    assert f"Warning {line}" in words(shown(analysis, 80))
    assert f"> **Warning**: {line}" in markdown.render(Subject(analysis))


def test_the_plot_marks_both_protocols_without_color(analysis: Analysis) -> None:
    text = shown(analysis, 80)
    assert "Seconds per epoch of a typical trial, 4 nodes (synthetic-mnist)" in text
    drawing = [line for line in text.splitlines() if "┤" in line or "│" in line]
    assert sum(line.count("●") for line in drawing) == 2
    assert sum(line.count("x") for line in drawing) == 2


def test_markdown_tables_are_rectangular_and_escape_what_others_wrote(damaged: Analysis) -> None:
    text = markdown.render(Subject(damaged), figure="figures/epochs 1.png")
    assert "](figures/epochs%201.png)" in text
    assert "killed &lt;by> the \\| kernel" in text
    blocks = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    assert len(blocks) == 11
    for block in blocks:
        rows = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
        assert len(set(rows)) == 1
    assert "| 3.50 (n = 1) |" in re.sub(" +", " ", text)


def test_a_link_is_bracketed_only_where_its_name_would_end_it(analysis: Analysis) -> None:
    assert "](report.png)" in markdown.render(Subject(analysis), figure="report.png")
    assert "](<a(1).png>)" in markdown.render(Subject(analysis), figure="a(1).png")


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_figure_is_saved_whole_and_twice_the_same(
    analysis: Analysis, tmp_path: Path, suffix: str
) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_figure(Subject(analysis), first, "epochs")
    write_figure(Subject(analysis), second, "epochs")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def of_mean(epoch_s: float) -> Analysis:
    _, context = make_sweep_on_hosts()
    order = make_order()
    return analyse([make_outcome(order, epoch_s, placement=spread(order))], context)


def test_the_figure_refers_to_the_published_means_unless_they_would_squash_it(
    on_hosts: Analysis, analysis: Analysis, tmp_path: Path
) -> None:
    near, far, here = (tmp_path / f"{name}.svg" for name in ("near", "far", "here"))
    write_figure(Subject(on_hosts), near, "epochs")
    write_figure(Subject(of_mean(0.5)), far, "epochs")
    write_figure(Subject(analysis), here, "epochs")
    assert "No published means: 4, 8 and 12 nodes are not on hosts of" in here.read_text()
    assert "published mean 3.59 s" not in here.read_text()
    assert "published mean 3.59 s" in near.read_text()
    assert "synthetic-mnist" in near.read_text()
    assert "published" not in far.read_text()
    assert "published mean: downpour 3.52 s, dc-sgd 3.59 s" in shown(on_hosts, 80)
    assert "published mean" not in shown(of_mean(0.5), 80)


@pytest.mark.parametrize("epoch_s", [0.5, 2.0, 3.4, 20.0])
def test_the_axis_starts_at_zero_and_everything_lies_inside(epoch_s: float) -> None:
    drawn = epoch_figure(of_mean(epoch_s))
    (trial,) = drawn.trials.values()
    assert drawn.ticks_s[0] == 0
    assert max([*trial.slowest_worker_s, *drawn.published_s.values()]) < drawn.ticks_s[-1]
    lines = shown(of_mean(epoch_s), 80).splitlines()
    (top,) = (number for number, line in enumerate(lines) if "┐" in line)
    assert re.fullmatch(r" *[\d.]+┤ +│", lines[top + 1])
    assert any(re.match(r" *0┤", line) for line in lines)


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (3.59, [0, 1, 2, 3, 4]),
        (3.9, [0, 1, 2, 3, 4, 5]),
        (13.5, [0, 5, 10, 15]),
        (0.0123, [0, 0.005, 0.01, 0.015]),
        (0, [0, 1]),
    ],
)
def test_a_scale_has_round_ticks_and_room_above(highest: float, ticks: list[float]) -> None:
    assert scale(highest) == pytest.approx(ticks)


def test_the_figure_refuses_other_formats_and_nothing_to_draw(
    analysis: Analysis, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"cannot write a figure in the format '\.pdf'"):
        write_figure(Subject(analysis), tmp_path / "f.pdf", "epochs")
    with pytest.raises(ResultsError, match="no trial with 6 nodes"):
        write_figure(Subject(analysis, nodes=6), tmp_path / "f.png")
    assert list(tmp_path.iterdir()) == []


def test_csv_has_a_row_a_cell_with_units_in_the_names(damaged: Analysis) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(Subject(damaged)))))
    assert len(rows) == 6
    row = next(r for r in rows if (r["nodes"], r["protocol"]) == ("8", "downpour"))
    assert float(row["epoch_mean_s"]) == pytest.approx(3.50)
    assert row["epoch_ci95_half_width_s"] == ""
    assert (row["trials_ok"], row["trials_planned"], row["trials_missing"]) == ("1", "3", "2")
    assert row["data"] == "synthetic-mnist"


@pytest.fixture
def paced() -> Analysis:
    """A sweep whose steps were paced, and whose epochs were cut to a tenth."""
    data = DataSpec("mnist", None, "d1", train_examples=55_000)
    return analyse(make_sweep(pace_ms=80.0, epoch_steps=55, data=data), make_context())


@pytest.mark.parametrize(
    "write",
    [
        lambda a: shown(a, 80),
        lambda a: markdown.render(Subject(a)),
        lambda a: page.render(Subject(a)),
    ],
    ids=["text", "md", "html"],
)
def test_paced_figures_are_marked_in_every_title_and_no_published_time_is_beside_them(
    paced: Analysis, write: Callable[[Analysis], str]
) -> None:
    tables = report_tables(paced)
    assert all("(mnist, paced: 80 ms per step or more)" in table.title for table in tables)
    text = words(write(paced))
    assert "cut short after 55 steps" in text
    assert "Paced times are no speed of these machines, and have no price" in text
    assert SHARING not in text
    assert "| 3.52" not in text
    assert {cell.published_epoch_s for cell in paced.cells} == {None}
    assert epoch_figure(paced).title.endswith("(mnist, paced: 80 ms per step or more)")


def test_an_epoch_that_is_cut_short_is_scaled_to_a_whole_one(paced: Analysis) -> None:
    means = [round(cell.epoch_s.mean, 6) for cell in paced.cells if cell.epoch_s]
    assert means == [35.2, 35.9, 35.3, 36.1, 35.5, 36.4]
    whole = analyse(make_sweep(), make_context())
    for found, expected in zip(paced.growth, whole.growth, strict=True):
        assert found.measured
        assert expected.measured
        assert found.measured.percent == pytest.approx(expected.measured.percent)


def test_exports_name_the_pace_and_the_cut(paced: Analysis, analysis: Analysis) -> None:
    for found, pace, steps in ((paced, "80.0", "55"), (analysis, "", "")):
        rows = list(csv.DictReader(io.StringIO(as_csv(Subject(found)))))
        assert {(r["pace_ms"], r["epoch_cut_short_after_steps"]) for r in rows} == {(pace, steps)}
    document = json.loads(export.as_json(paced))
    assert document["settings"]["pace_ms"] == 80.0
    assert document["rehearsal"] is None


def test_json_is_versioned_and_holds_the_same_figures(analysis: Analysis) -> None:
    document = json.loads(export.as_json(analysis))
    assert document["dnnbench_report"] == 1
    assert document["epoch"] == REPLICATED
    assert document["settings"]["data"]["name"] == "synthetic-mnist"
    means = [round(cell["epoch_s"]["mean"], 6) for cell in document["cells"]]
    assert means == [3.52, 3.59, 3.53, 3.61, 3.55, 3.64]


def test_json_does_not_tell_where_the_data_lie() -> None:
    data = DataSpec("mnist", "/home/somebody/mnist", "d1", label_noise=0.1, train_examples=9)
    text = export.as_json(analyse(make_sweep(data=data), make_context()))
    assert json.loads(text)["settings"]["data"] == {
        "name": "mnist",
        "digest": "d1",
        "label_noise": 0.1,
        "train_examples": 9,
    }
    assert "somebody" not in text


def test_one_process_stands_beside_the_cluster_in_every_format() -> None:
    outcomes = [
        *make_sweep(),
        *(
            make_outcome(make_order(1, "sequential", repeat, parameter_servers=0), epoch_s)
            for repeat, epoch_s in ((1, 1.49), (2, 1.5), (3, 1.51))
        ),
    ]
    context = make_context(planned_protocols=["downpour", "dc-sgd", "sequential"])
    analysis = analyse(outcomes, context)
    table = words(shown(analysis, 120))
    assert re.search(r"\n +1 .* 1\.50 ± 0\.02", shown(analysis, 120))
    beats = "examples/s alone; more: downpour and dc-sgd at 4, 8 and 12 nodes."
    assert beats in table
    assert "x one process" in table
    assert beats in words(markdown.render(Subject(analysis)))
    rows = list(csv.DictReader(io.StringIO(as_csv(Subject(analysis)))))
    ratios = {(row["nodes"], row["protocol"]): row["speedup_ratio"] for row in rows}
    assert ratios["1", "sequential"] == ""
    document = export.as_document(analysis)
    for cell in document["cells"]:
        if cell["nodes"] > 1:
            ratio = cell["speedup"]["ratio"]
            assert float(ratios[str(cell["nodes"]), cell["protocol"]]) == ratio
            assert cell["speedup"]["low"] < ratio < cell["speedup"]["high"]


def test_where_one_process_is_faster_no_node_count_is_named() -> None:
    alone = [
        make_outcome(make_order(1, "sequential", repeat, parameter_servers=0), epoch_s)
        for repeat, epoch_s in ((1, 0.09), (2, 0.1), (3, 0.11))
    ]
    context = make_context(planned_protocols=["downpour", "dc-sgd", "sequential"])
    table = words(shown(analyse([*make_sweep(), *alone], context), 120))
    assert "examples/s alone; fewer: downpour and dc-sgd at 4, 8 and 12 nodes." in table


def test_numbers_are_written_as_table_2_writes_them() -> None:
    assert [seconds(s) for s in (12.345, 1.0, 0.5, 0.01234)] == ["12.35", "1.00", "0.500", "0.0123"]
    assert mean_text(Estimate(1234.5, 3, 67.8, 1, 2), "{:,.0f}".format) == "1,234 ± 68"
    assert mean_text(None, seconds) == "-"
    assert histogram_text([8, 0, 4, 1]) == "█.▅▂"
    assert histogram_text([1] * 40) == "█" * 13 + "▃"
    assert histogram_text([]) == "-"


def test_the_report_imports_nothing_heavy() -> None:
    program = (
        "import sys, dnnbench.cli.report, dnnbench.report.terminal, dnnbench.report.markdown,"
        " dnnbench.report.page, dnnbench.report.figures.scaling, dnnbench.report.export\n"
        "heavy = {'tensorflow', 'numpy', 'scipy', 'matplotlib', 'rich.console',"
        " 'tabulate'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout == "[]\n"
