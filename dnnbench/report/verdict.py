"""The verdict in words: at most a dozen lines that answer a user's questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.analysis.excluded import by_status
from dnnbench.analysis.stats import MOST_REPEATS
from dnnbench.analysis.verdict import judge
from dnnbench.report import wording as w
from dnnbench.report.next_step import step_text, sweep_path
from dnnbench.text.tables import fields_text
from dnnbench.text.words import count_text, list_text
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.bound import Bound
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.stats import Difference, RatioEstimate
    from dnnbench.analysis.verdict import Choice, OneProcess, Scaling, Verdict
    from dnnbench.text.screen import Screen
    from dnnbench.text.tables import Fields

MOST_LINES: Final = 12
"""Lines that a verdict takes at most on a terminal of 80 columns."""
_MOST_NAMED: Final = 2
"""Protocols that get a clause of their own; of more, only the names are given."""
_ANSWERS: Final = {"yes": "yes", "partly": "in part", "no": "no", None: "cannot be told"}
_MEANINGS: Final = {
    "yes": "each worker keeps 90 % of its speed",
    "partly": "more nodes do more in all, but each worker less",
    "no": "more nodes do no more in all",
}
_TOO_FEW: Final = "an interval needs 2 successful trials per cell"


def verdict_fields(analysis: Analysis, *, is_private: bool = True) -> Fields:
    """Return question and answer, one pair each.

    Args:
        analysis: the figures that the answers rest on.
        is_private: whether commands may contain paths of this machine.
    """
    answers = _answers(analysis, is_private=is_private)
    return [(question, " ".join(sentences)) for question, sentences in answers.items()]


def verdict_text(analysis: Analysis, screen: Screen) -> str:
    """Lay the verdict out for a terminal, in at most `MOST_LINES` lines if it has 80 columns.

    If it does not fit, answers lose their last sentences, whose figures are in the tables; those to
    the first questions come last.
    """
    answers = _answers(analysis, is_private=True)
    while True:
        fields = [(question, " ".join(sentences)) for question, sentences in answers.items()]
        text = fields_text(fields, screen)
        longer = [sentences for sentences in answers.values() if len(sentences) > 1]
        if not longer or text.count("\n") <= MOST_LINES:
            return text
        longer[-1].pop()


def _answers(analysis: Analysis, *, is_private: bool) -> dict[str, list[str]]:
    """Return question -> sentences of its answer, the most important first."""
    verdict = judge(analysis)
    answers: dict[str, list[str]] = {}
    if verdict.bound is None:
        void = [cell.key for cell in analysis.cells if cell.void]
        why = _void_text(analysis, void) if void else "no trial with a parameter server succeeded"
        if not void and (excluded := by_status(analysis.not_counted)):
            why += f" ({excluded})"
        answers["Verdict"] = [f"Cannot be told: {why}."]
    else:
        answers["Scales?"] = _scaling_text(analysis, verdict.scaling)
        answers["Protocol?"] = _choices_text(analysis, verdict.choices)
        if verdict.one_process:
            answers["1 process"] = [_alone_text(verdict.one_process)]
        answers["Cost?"] = _cost_text(analysis, verdict, is_private=is_private)
        answers["Bound by"] = _bound_text(analysis, verdict.bound)
    if analysis.is_disturbed:
        answers["Beware"] = ["Others used the machines meanwhile; see the warnings."]
    steps = [step_text(analysis, step, is_private=is_private) for step in verdict.steps]
    answers["Next"] = ["; ".join(steps)]
    return answers


def _scaling_text(analysis: Analysis, scaling: Sequence[Scaling]) -> list[str]:
    if not scaling:
        return [f"Cannot be told: one node count, {analysis.smallest_nodes} nodes."]
    groups: dict[str, list[Scaling]] = {}
    for one in scaling:
        groups.setdefault(_ANSWERS[one.answer], []).append(one)
    if len(groups) == 1:
        answer = _one_answer(analysis, scaling)
    else:
        texts = (f"{answer}: {_names_text(group)}" for answer, group in groups.items())
        answer = _sentence("; ".join(texts))
    shares = any(one.obstacle == "shared cores" for one in scaling)
    return [answer, *(_rehearsal_texts(analysis) if shares else []), *_growth_texts(scaling)]


def _names_text(group: Sequence[Scaling | Choice]) -> str:
    """Name the protocols of answers; settings that vary are too many to name."""
    names = list(dict.fromkeys(one.protocol for one in group))
    if len(names) < len(group):
        return f"{list_text(names)} ({len(group)} settings)"
    return list_text(names)


def _one_answer(analysis: Analysis, scaling: Sequence[Scaling]) -> str:
    """Write the answer that all protocols have in common."""
    first = scaling[0]
    if first.answer is not None:
        return _sentence(f"{_ANSWERS[first.answer]}: {_MEANINGS[first.answer]}")
    obstacles = {one.obstacle for one in scaling}
    if "shared cores" in obstacles:
        cores = count_text(analysis.context.host_cores, "core")
        on = f" {cores}" if len(analysis.context.hosts) <= 1 else " cores"
        return f"Cannot be told from this sweep: up to {first.to_nodes} roles shared{on}."
    if "void" in obstacles:
        ends = {
            CellKey(n, one.protocol, tuple(one.variation.items()))
            for one in scaling
            for n in (one.from_nodes, one.to_nodes)
        }
        return f"Cannot be told: {_void_text(analysis, ends)}."
    if "too few trials" in obstacles:
        return f"Cannot be told: {_TOO_FEW}."
    repeats = [one.repeats for one in scaling]
    most = max((n for n in repeats if n), default=0) if all(repeats) else None
    return _unresolved(analysis, most)


def _growth_texts(scaling: Sequence[Scaling]) -> list[str]:
    """Write the growth of the epoch time of each protocol, or of the first and last of many."""
    told = [(w.with_variation(s.protocol, s.variation), s.growth) for s in scaling if s.growth]
    if not told:
        return []
    first = scaling[0]
    ideal = "flat" if first.ideal_percent == 0.0 else f"{first.ideal_percent:.0f} %"
    what = f"Seconds per epoch, {first.from_nodes} to {first.to_nodes} nodes"
    return [f"{what}: {_each_growth_text(told)}; {ideal} is ideal."]


def _rehearsal_texts(analysis: Analysis) -> list[str]:
    """Write how the paced step grows: as on hosts with cores of their own."""
    rehearsal = analysis.rehearsal
    told = [(g.protocol, g.measured) for g in rehearsal.growth if g.measured] if rehearsal else []
    if not rehearsal or not told:
        return []
    ends = f"{rehearsal.growth[0].from_nodes} to {rehearsal.growth[0].to_nodes} nodes"
    what = f"Paced rehearsal, {rehearsal.pace_ms:g} ms per step, {ends}"
    return [f"{what}: {_each_growth_text(told)}."]


def _each_growth_text(told: Sequence[tuple[str, RatioEstimate]]) -> str:
    """Write growth after growth; of many, the least and the largest."""
    between = ", "
    if len(told) > _MOST_NAMED:
        ordered = sorted(told, key=lambda pair: pair[1].percent)
        told, between = [ordered[0], ordered[-1]], " to "
    return between.join(f"{name} {_percent_text(growth)}" for name, growth in told)


def _choices_text(analysis: Analysis, choices: Sequence[Choice]) -> list[str]:
    if not choices:
        only = [name for name in analysis.protocols if name != _alone(analysis)]
        return [f"Cannot be told: only {list_text(only)} measured, none beside its baseline."]
    if len(choices) > 1:
        return [_many_choices_text(choices)]
    (choice,) = choices
    over = next(o for o in analysis.overhead if o.key == _key(choice))
    figures = []
    if over.measured:
        figures.append(f"time {_percent_text(over.measured)}")
    if over.accuracy_points:
        figures.append(f"accuracy {_points_text(over.accuracy_points)}")
    texts = [_choice_answer(analysis, choice)]
    if figures:
        texts.append(f"{choice.protocol} at {choice.nodes} nodes: {', '.join(figures)}.")
    return texts


def _choice_answer(analysis: Analysis, choice: Choice) -> str:
    if choice.obstacle == "overlap":
        return _unresolved(analysis, choice.repeats)
    if choice.obstacle is not None:
        return f"Cannot be told: {_choice_obstacle(analysis, choice)}."
    if choice.better is None:
        return f"A trade: {choice.faster} is faster, {choice.more_accurate} more accurate."
    if choice.faster is None:
        return f"{choice.better}: more accurate, as fast within chance."
    if choice.more_accurate is None:
        return f"{choice.better}: faster, as accurate within chance."
    return f"{choice.better}: faster and more accurate."


def _choice_obstacle(analysis: Analysis, choice: Choice) -> str:
    if choice.obstacle == "too few trials":
        return _TOO_FEW
    names = choice.protocol, choice.baseline
    keys = [_key(choice).with_protocol(name) for name in names]
    if choice.obstacle == "void":
        return _void_text(analysis, keys)
    cells = [analysis.cell(key) for key in keys]
    lost = [
        f"{cell.diverged + cell.not_learned} of {cell.planned} under {cell.protocol}"
        for cell in cells
        if cell.diverged or cell.not_learned
    ]
    return f"trials diverged or did not learn, {list_text(lost)}"


def _void_text(analysis: Analysis, keys: Iterable[CellKey]) -> str:
    """Write the first of these cells that is void, and how many others are."""
    (first, *others) = (cell for cell in map(analysis.cell, sorted(keys)) if cell.void)
    more = f", and {len(others)} more" if others else ""
    return f"{first.key} is void ({first.void}){more}"


def _key(choice: Choice) -> CellKey:
    return CellKey(choice.nodes, choice.protocol, tuple(choice.variation.items()))


def _many_choices_text(choices: Sequence[Choice]) -> str:
    found: dict[str, list[Choice]] = {}
    for choice in choices:
        if choice.better == choice.protocol:
            answer = f"ahead of {choice.baseline}"
        elif choice.better == choice.baseline:
            answer = f"behind {choice.baseline}"
        elif choice.faster and choice.more_accurate:
            answer = "a trade of time for accuracy"
        else:
            answer = "cannot be told"
        found.setdefault(answer, []).append(choice)
    answers = "; ".join(f"{answer}: {_names_text(group)}" for answer, group in found.items())
    return f"In time and accuracy at {choices[0].nodes} nodes, {answers}."


def _alone_text(alone: OneProcess) -> str:
    found = (
        ("more", alone.faster),
        ("fewer", alone.slower),
        ("cannot be told", alone.unclear),
    )
    (verdict, first), *others = ((verdict, cells) for verdict, cells in found if cells)
    clauses = [f"{verdict}: {_cells_text(first)}"]
    clauses += [f"{verdict}: {count_text(len(cells), 'cell')}" for verdict, cells in others]
    return f"{alone.examples_per_s:,.0f} examples/s alone; {'; '.join(clauses)}."


def _cells_text(cells: Iterable[CellKey]) -> str:
    """Write cells by protocol; protocols with the same node counts together."""
    cells = list(cells)
    if any(cell.variation for cell in cells):
        return count_text(len(cells), "cell")
    nodes: dict[str, list[str]] = {}
    for cell in cells:
        nodes.setdefault(cell.protocol, []).append(str(cell.nodes))
    names: dict[str, list[str]] = {}
    for name, counts in nodes.items():
        names.setdefault(list_text(counts), []).append(name)
    if len(nodes) > _MOST_NAMED:
        return count_text(sum(map(len, nodes.values())), "cell")
    return ", ".join(f"{list_text(of)} at {counts} nodes" for counts, of in names.items())


def _cost_text(analysis: Analysis, verdict: Verdict, *, is_private: bool) -> list[str]:
    if not verdict.priced:
        return ["Cannot be told: roles that share a machine are not machines."]
    assert verdict.bound is not None
    key = verdict.bound.cell
    setting = [c for c in analysis.cells if c.n and c.key == key.with_nodes(c.nodes)]
    keys = [CellKey(1, alone)] if (alone := _alone(analysis)) and not analysis.varied else []
    keys += dict.fromkeys((setting[0].key, setting[-1].key))
    rates = [
        f"{cell.examples_per_s.mean / cell.nodes:,.0f} at {count_text(cell.nodes, 'node')}"
        for cell in map(analysis.cell, keys)
        if cell.examples_per_s
    ]
    name = w.with_variation(key.protocol, dict(key.variation))
    return [
        f"Examples/s per machine, {name}: {', '.join(rates)}.",
        f"Prices: `dnnbench cost {sweep_path(analysis, is_private=is_private)}`.",
    ]


def _bound_text(analysis: Analysis, bound: Bound) -> list[str]:
    cell = analysis.cell(bound.cell)
    server, worker = cell.parameter_server_busy_cores, cell.worker_busy_cores
    slowest = cell.slowest_worker_percent
    assert server is not None
    assert worker is not None
    assert slowest is not None
    at = f"{cell.protocol} at {cell.nodes} nodes"
    busy = f"each worker keeps {worker.mean:.2g} cores busy"
    if server.mean:
        busy += f", the parameter server {server.mean:.2g} of {bound.server_cores:g}"
    if bound.part == "shared cores":
        return [
            f"Shared cores: {cell.roles_per_core:.1f} roles per core ({at}).",
            *_share_text(cell),
        ]
    text = {
        "parameter server": f"The parameter server's CPU: {busy} ({at}).",
        "straggler": f"A straggler: the slowest worker takes {slowest.mean:.0f} % longer per epoch "
        f"than the mean ({at}).",
        "workers": f"The workers' own computing: {busy} ({at}).",
        "waiting": f"Network or queues: {busy} ({at}).",
    }[bound.part]
    return [text]


def _share_text(cell: Cell) -> list[str]:
    server, worker = cell.parameter_server_cpu_s_per_example, cell.worker_cpu_s_per_example
    if not server or not worker or not server.mean:
        return []
    share = 100.0 * server.mean / (server.mean + worker.mean)
    return [f"The parameter server used {share:.0f} % of the roles' CPU time."]


def _alone(analysis: Analysis) -> str | None:
    """Return the protocol of one process, if it is in the sweep."""
    return next((p for p in analysis.protocols if find_protocol(p).fixed_nodes == 1), None)


def _percent_text(ratio: RatioEstimate) -> str:
    return f"{w.excess_text(ratio.percent)} % ({w.interval_text(ratio)})"


def _points_text(points: Difference) -> str:
    return f"{points.mean:+.2f} points ({w.points_interval_text(points)})"


def _unresolved(analysis: Analysis, repeats: int | None) -> str:
    """Write that chance may explain a difference, and how many repeats would tell."""
    enough = f"about {repeats}" if repeats else f"more than {MOST_REPEATS}"
    return f"Cannot be told from {analysis.context.planned_repeats} repeats; {enough} would tell."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
