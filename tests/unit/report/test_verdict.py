"""Verdicts on fake sweeps: each answer in its case, and none that the tables contradict."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.factories import (
    make_context,
    make_diverged,
    make_hosts,
    make_order,
    make_outcome,
    make_sweep,
    make_sweep_on_hosts,
    spread,
)

from dnnbench.analysis.analyse import Analysis, analyse
from dnnbench.analysis.rehearsal import rehearsal_figures
from dnnbench.analysis.verdict import KEPT, Scaling, judge
from dnnbench.report import export, markdown, terminal
from dnnbench.report.figures.picture import Subject
from dnnbench.report.tables import report_tables
from dnnbench.report.verdict import MOST_LINES, verdict_fields, verdict_text
from dnnbench.text.screen import Screen
from dnnbench.trial.outcome import EvaluationRecord
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def sweep(
    times_s: Mapping[tuple[int, str], Sequence[float]],
    *,
    own_hosts: bool = True,
    accuracies: Mapping[str, Sequence[float]] | None = None,
    changes: Mapping[str, Any] | None = None,
    order_changes: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
) -> Analysis:
    """Analyse a sweep with these epoch times per node count and protocol, one per repeat."""
    outcomes = []
    for (nodes, protocol), seconds in times_s.items():
        servers = {"parameter_servers": 0} if protocol == "sequential" else {}
        for repeat, epoch_s in enumerate(seconds, start=1):
            order = make_order(nodes, protocol, repeat, **{**servers, **(order_changes or {})})
            outcome = make_outcome(order, epoch_s, **(changes or {}))
            if own_hosts:
                outcome = msgspec.structs.replace(outcome, placement=spread(order))
            if accuracies:
                accuracy = accuracies[protocol][repeat - 1]
                final = EvaluationRecord(None, 1, accuracy, accuracy)
                outcome = msgspec.structs.replace(outcome, evaluations=[final])
            outcomes.append(outcome)
    protocols = list(dict.fromkeys(protocol for _, protocol in times_s))
    nodes_of_clusters = sorted({n for n, p in times_s if p != "sequential"})
    fields = {
        "planned_nodes": nodes_of_clusters,
        "planned_protocols": protocols,
        "planned_repeats": max(map(len, times_s.values())),
        "path": "results/sweep-1",
        "hosts": make_hosts(12) if own_hosts else {},
        "host_cores": 48 if own_hosts else 2,
    }
    return analyse(outcomes, make_context(**{**fields, **(context or {})}))


def answers(analysis: Analysis) -> dict[str, str]:
    return dict(verdict_fields(analysis))


def scaling_of(analysis: Analysis) -> Scaling:
    (scaling,) = judge(analysis).scaling
    return scaling


STEADY = [3.49, 3.50, 3.51]


@pytest.mark.parametrize(
    ("at_12_nodes", "answer", "text"),
    [
        (STEADY, "yes", "Yes: each worker keeps 90 % of its speed."),
        ([4.9, 5.0, 5.1], "partly", "In part: more nodes do more in all, but each worker less."),
        ([13.9, 14.0, 14.1], "no", "No: more nodes do no more in all."),
        ([3.2, 3.5, 3.8], None, "Cannot be told from 3 repeats; about 8 would tell."),
        ([1.9, 3.9, 7.8], None, "Cannot be told from 3 repeats; more than 100 would tell."),
    ],
)
def test_whether_a_sweep_scales(at_12_nodes: list[float], answer: str | None, text: str) -> None:
    analysis = sweep({(4, "downpour"): STEADY, (12, "downpour"): at_12_nodes})
    assert scaling_of(analysis).answer == answer
    assert text in answers(analysis)["Scales?"]
    assert "flat is ideal" in answers(analysis)["Scales?"]


def test_sharded_epochs_scale_if_their_time_falls_as_the_workers_grow() -> None:
    of_ideal = [s * 3 / 11 for s in STEADY]
    sharded = {"epoch_definition": "sharded"}
    good = sweep({(4, "downpour"): STEADY, (12, "downpour"): of_ideal}, order_changes=sharded)
    assert scaling_of(good).answer == "yes"
    assert "-73 % is ideal" in answers(good)["Scales?"]
    flat = sweep({(4, "downpour"): STEADY, (12, "downpour"): STEADY}, order_changes=sharded)
    assert scaling_of(flat).answer == "partly"  # perhaps a little more in all, perhaps not
    slower = [s * 1.1 for s in STEADY]
    none = sweep({(4, "downpour"): STEADY, (12, "downpour"): slower}, order_changes=sharded)
    assert scaling_of(none).answer == "no"


def test_what_shared_cores_hide_is_not_told_from_them() -> None:
    analysis = analyse(make_sweep(), make_context())
    verdict = judge(analysis)
    assert {scaling.obstacle for scaling in verdict.scaling} == {"shared cores"}
    assert not verdict.priced
    found = answers(analysis)
    assert found["Scales?"].startswith(
        "Cannot be told from this sweep: up to 12 roles shared 2 cores. Seconds per epoch, 4 to 12 "
        "nodes: downpour +0.9 % (-1.1 to +2.8), dc-sgd +1.4 %"
    )
    assert "dc-sgd at 12 nodes: time +2.5 %" in found["Protocol?"]
    assert found["Cost?"] == "Cannot be told: roles that share a machine are not machines."
    assert found["Bound by"].startswith("Shared cores: 6.0 roles per core (downpour at 12 nodes).")
    assert "used 20 % of the roles' CPU time" in found["Bound by"]
    assert found["Next"] == (
        "`dnnbench predict sweep-1` for hosts of their own; `dnnbench run --hosts HOST1,...,HOST12`"
    )


def test_a_rehearsal_tells_how_a_sweep_on_shared_cores_would_grow() -> None:
    analysis = analyse(make_sweep(), make_context())
    paced = [
        make_outcome(make_order(nodes, pace_ms=7.0, repeat=repeat), epoch_s * (1 + repeat / 1000))
        for nodes, epoch_s in ((4, 3.85), (12, 3.85 * 1.02))
        for repeat in (1, 2, 3)
    ]
    of_it = analyse(paced, make_context(planned_protocols=["downpour"]))
    rehearsal = rehearsal_figures(of_it, paced)
    found = answers(msgspec.structs.replace(analysis, rehearsal=rehearsal))["Scales?"]
    assert "2 cores. Paced rehearsal, 7 ms per step, 4 to 12 nodes: downpour +2.0 % (" in found
    own = analyse(*make_sweep_on_hosts())
    alone = answers(msgspec.structs.replace(own, rehearsal=rehearsal))["Scales?"]
    assert "rehearsal" not in alone  # the epochs themselves tell


def test_single_trials_tell_nothing_and_two_would() -> None:
    analysis = analyse(make_sweep(repeats=1), make_context(planned_repeats=1))
    found = answers(analysis)
    reason = "Cannot be told: an interval needs 2 successful trials per cell."
    assert (found["Scales?"], found["Protocol?"]) == (reason, reason)
    assert found["Next"].endswith("; `dnnbench run --repeats 2`")


def test_one_node_count_and_one_protocol_tell_what_to_add() -> None:
    found = answers(sweep({(4, "downpour"): STEADY}))
    assert found["Scales?"] == "Cannot be told: one node count, 4 nodes."
    assert found["Protocol?"] == (
        "Cannot be told: only downpour measured, none beside its baseline."
    )
    assert found["Next"] == (
        "`dnnbench run --nodes 4,8,12`; `dnnbench run --protocols downpour,dc-sgd`"
    )
    found = answers(sweep({(4, "sync"): STEADY, (8, "sync"): STEADY}))
    assert found["Next"].startswith("`dnnbench run --protocols downpour,sync`")


ALIKE = {"downpour": [0.95, 0.96, 0.97], "dc-sgd": [0.96, 0.95, 0.97]}
BETTER = {"downpour": [0.950, 0.951, 0.952], "dc-sgd": [0.960, 0.961, 0.963]}


@pytest.mark.parametrize(
    ("factor", "accuracies", "better", "text"),
    [
        (1.05, ALIKE, "downpour", "downpour: faster, as accurate within chance."),
        (0.95, ALIKE, "dc-sgd", "dc-sgd: faster, as accurate within chance."),
        (0.95, BETTER, "dc-sgd", "dc-sgd: faster and more accurate."),
        (1.05, BETTER, None, "A trade: downpour is faster, dc-sgd more accurate."),
        (1.0, BETTER, "dc-sgd", "dc-sgd: more accurate, as fast within chance."),
        (1.0, ALIKE, None, "Cannot be told from 3 repeats; more than 100 would tell."),
    ],
)
def test_which_protocol(
    factor: float, accuracies: dict[str, list[float]], better: str | None, text: str
) -> None:
    wobble = [0.99, 1.01, 1.003]
    times = {
        (nodes, protocol): [s * w * f for s, w in zip(STEADY, ws, strict=True)]
        for nodes in (4, 12)
        for protocol, f, ws in (
            ("downpour", 1.0, [1.0, 1.0, 1.0]),
            ("dc-sgd", factor, wobble if factor == 1.0 else [1.0, 1.001, 1.002]),
        )
    }
    analysis = sweep(times, accuracies=accuracies)
    (choice,) = judge(analysis).choices
    assert choice.better == better
    assert answers(analysis)["Protocol?"].startswith(text)


def test_no_protocol_is_recommended_over_trials_that_diverged() -> None:
    outcomes, context = make_sweep_on_hosts()
    outcomes = [make_diverged(o.order) if o.order.id == "n12-downpour-r2" else o for o in outcomes]
    analysis = analyse(outcomes, context)
    (choice,) = judge(analysis).choices
    assert (choice.better, choice.obstacle) == (None, "not learned")
    assert (
        "trials diverged or did not learn, 1 of 3 under downpour"
        in (answers(analysis)["Protocol?"])
    )


def test_many_protocols_are_named_by_their_answers() -> None:
    factors = {"downpour": 1.0, "dc-sgd": 1.1, "dc-sgd-c": 1.2, "staleness-aware": 0.9}
    times = {(n, name): [f * s for s in STEADY] for n in (4, 12) for name, f in factors.items()}
    found = answers(sweep(times))
    assert found["Protocol?"] == (
        "In time and accuracy at 12 nodes, behind downpour: dc-sgd and dc-sgd-c; ahead of "
        "downpour: staleness-aware."
    )
    assert re.search(r"12 nodes: [a-z-]+ \+0\.0 % \(.*\) to [a-z-]+ \+0\.0 %", found["Scales?"])


@pytest.mark.parametrize(
    ("server_cpu", "worker_cpu_s", "part", "text"),
    [
        (4.0, 0.1, "parameter server", "The parameter server's CPU: each worker keeps 0.028 cores"),
        (0.5, 3.4, "workers", "The workers' own computing: each worker keeps 0.96 cores busy, the"),
        (0.5, 0.7, "waiting", "Network or queues: each worker keeps 0.2 cores busy, the parameter"),
    ],
)
def test_what_bounds_a_sweep(server_cpu: float, worker_cpu_s: float, part: str, text: str) -> None:
    analysis = with_cpu(server_cpu, worker_cpu_s)
    bound = judge(analysis).bound
    assert bound is not None
    assert (bound.part, bound.server_cores) == (part, 4.0)
    assert text in answers(analysis)["Bound by"]
    assert "of 4 (downpour at 12 nodes)" in answers(analysis)["Bound by"]


def with_cpu(server_cpu: float, worker_cpu_s: float) -> Analysis:
    outcomes, context = make_sweep_on_hosts()
    outcomes = [
        msgspec.structs.replace(
            outcome,
            parameter_server_cpu_s=server_cpu * outcome.training_s,
            epochs=[msgspec.structs.replace(e, cpu_s=worker_cpu_s) for e in outcome.epochs],
        )
        for outcome in outcomes
    ]
    return analyse(outcomes, context)


def test_a_straggler_is_the_bound() -> None:
    outcomes, context = make_sweep_on_hosts()
    outcomes = [
        msgspec.structs.replace(
            outcome,
            epochs=[
                msgspec.structs.replace(e, duration_s=e.duration_s * 1.4)
                if e.task == "worker:2"
                else e
                for e in outcome.epochs
            ],
        )
        for outcome in outcomes
    ]
    found = answers(analyse(outcomes, context))["Bound by"]
    assert found.startswith("A straggler: the slowest worker takes 34 % longer per epoch than")


def test_one_process_is_compared_and_its_machine_is_one() -> None:
    times = {(1, "sequential"): [0.39, 0.4, 0.41], (4, "downpour"): STEADY}
    found = answers(sweep({**times, (12, "downpour"): STEADY}))
    assert re.match(
        r"13\d,\d+ examples/s alone; more: downpour at 12 nodes; fewer: 1 cell\.",
        found["1 process"],
    )
    assert re.match(
        r"Examples/s per machine, downpour: 13\d,\d+ at 1 node, 11,7\d\d at 4 nodes, "
        r"14,\d+ at 12 nodes\. Prices: `dnnbench cost results/sweep-1`\.",
        found["Cost?"],
    )


def test_what_is_missing_is_run_first() -> None:
    analysis = sweep(
        {(4, "downpour"): STEADY, (12, "downpour"): STEADY}, context={"planned_repeats": 5}
    )
    assert answers(analysis)["Next"] == (
        "`dnnbench run --resume results/sweep-1` runs what is missing"
    )


def test_the_command_repeats_what_was_typed_and_exports_hide_paths() -> None:
    typed = {"--nodes": "4,12", "--data-dir": "/home/me/my data", "--repeats": "1", "--share": ""}
    analysis = sweep({(4, "downpour"): [3.5], (12, "downpour"): [3.6]}, context={"options": typed})
    command = "dnnbench run --nodes 4,12 --data-dir '/home/me/my data' --repeats 2 --share"
    assert f"`{command}`" in answers(analysis)["Next"]
    document = json.loads(export.as_json(analysis))
    assert document["verdict"]["steps"][0] == {"name": "repeat", "repeats": 2}
    for text in (json.dumps(document), markdown.render(Subject(analysis))):
        assert "/home/me" not in text
        assert "--data-dir ..." in text


def test_a_sweep_without_a_successful_trial_has_no_answers() -> None:
    analysis = analyse([make_diverged(make_order())], make_context(planned_nodes=[4]))
    found = answers(analysis)
    assert list(found) == ["Verdict", "Next"]
    why = "no trial with a parameter server succeeded (1 diverged)"
    assert found["Verdict"] == f"Cannot be told: {why}."


def test_the_interval_of_two_wild_trials_is_shown_as_endless() -> None:
    analysis = sweep({(4, "downpour"): [0.01, 90.0], (12, "downpour"): [0.01, 90.0]})
    assert "downpour +0.0 % (-100.0 to over +1000)" in answers(analysis)["Scales?"]
    assert scaling_of(analysis).repeats is None


def lines_of(analysis: Analysis, width: int = 80) -> list[str]:
    return verdict_text(analysis, Screen(width)).splitlines()


def random_sweep(chance: random.Random) -> Analysis:
    """Return a sweep of random times, spread, sizes, protocols, hosts and losses."""
    protocols = chance.choice(
        [["downpour"], ["downpour", "dc-sgd"], ["downpour", "dc-sgd", "sync", "staleness-aware"]]
    )
    nodes = chance.choice([[4], [4, 8], [4, 8, 12]])
    repeats = chance.choice([1, 2, 3, 6])
    spread_by = chance.choice([0.001, 0.02, 0.3])
    growth, step = chance.uniform(0.9, 1.6), chance.uniform(0.9, 1.2)
    times = {
        (n, name): [
            3.5 * growth**i * step**j * chance.uniform(1 - spread_by, 1 + spread_by)
            for _ in range(repeats)
        ]
        for i, n in enumerate(nodes)
        for j, name in enumerate(protocols)
    }
    if chance.random() < 0.3:
        times[1, "sequential"] = [chance.uniform(0.1, 3.0) for _ in range(repeats)]
    accuracies = {
        name: [chance.uniform(0.9, 0.96) for _ in range(repeats)]
        for name in [*protocols, "sequential"]
    }
    return sweep(
        times,
        own_hosts=chance.random() < 0.5,
        accuracies=accuracies,
        order_changes={"epoch_definition": chance.choice(["replicated", "sharded"])},
        context={
            "planned_repeats": repeats + chance.choice([0, 0, 1]),
            "options": {"--nodes": "4,8,12", "--repeats": "3", "--epochs": "1"},
            "path": "results/2026-11-25T17-53-33Z",
        },
    )


@pytest.mark.parametrize("seed", range(120))
def test_no_verdict_contradicts_the_tables(seed: int) -> None:
    analysis = random_sweep(random.Random(seed))
    verdict, found = judge(analysis), answers(analysis)
    assert len(lines_of(analysis)) <= MOST_LINES
    assert max(map(len, lines_of(analysis))) <= 80
    tables = report_tables(analysis)
    shown = " ".join(text for table in tables for row in table.rows for text in row)
    for name in ("Scales?", "Protocol?"):
        for figure in re.findall(r"[+-]\d+\.\d+", found[name]):
            assert figure in shown, f"{figure} of {name} is in no table"
    for one in verdict.scaling:
        assert (one.answer is None) == (one.obstacle is not None)
        ends = [analysis.cell(CellKey(n, one.protocol)) for n in (one.from_nodes, one.to_nodes)]
        if one.answer is None:
            continue
        assert one.growth is not None
        assert all(cell.roles_per_core <= 1.0 for cell in ends)
        ideal = 1 + one.ideal_percent / 100
        limit = 100 * (ideal / KEPT - 1)
        assert (one.growth.high_percent <= limit) == (one.answer == "yes")
        assert (one.growth.low_percent >= limit) == (one.answer in ("partly", "no"))
    for choice in verdict.choices:
        (over,) = (o for o in analysis.overhead if o.key == CellKey(choice.nodes, choice.protocol))
        if choice.faster == choice.baseline:
            assert over.measured is not None
            assert over.measured.low_percent > 0
        elif choice.faster:
            assert over.measured is not None
            assert over.measured.high_percent < 0
        assert choice.better in (None, choice.faster, choice.more_accurate)
    if verdict.priced:
        assert all(cell.own_hosts for cell in analysis.cells if cell.n)
    assert ("Prices: `" in found.get("Cost?", "")) == verdict.priced
    assert terminal.render_short(analysis, Screen(80)).startswith("Scales?")


def test_a_verdict_that_is_too_long_loses_sentences_whose_figures_are_in_the_tables() -> None:
    analysis = random_sweep(random.Random(11))
    whole = dict(verdict_fields(analysis))
    shown = " ".join(" ".join(line.split()) for line in lines_of(analysis))
    assert len(lines_of(analysis)) <= MOST_LINES
    assert whole["Scales?"] in shown or whole["Scales?"].split(". ")[0] in shown
    for question, answer in whole.items():
        assert question in shown
        assert answer.split(". ")[0].rstrip(".") in shown
    assert len(lines_of(analysis, 200)) == len(whole)
