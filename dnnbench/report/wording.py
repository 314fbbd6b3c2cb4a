"""Numbers and names as a report writes them, in a terminal and in Markdown alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.analysis.crowding import machine_groups
from dnnbench.text.tables import NONE
from dnnbench.text.words import count_text
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.spec import EPOCH_DEFINITIONS, CellKey
from dnnbench.trial.variation import in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from dnnbench.analysis.analyse import Analysis, Context
    from dnnbench.analysis.cell import Cell, Efficiency, Speedup
    from dnnbench.analysis.stats import Difference, Estimate, RatioEstimate
    from dnnbench.trial.spec import ProtocolSpec
    from dnnbench.trial.variation import Value

_ENDLESS_PERCENT: Final = 1000
"""Upper end from which the digits of an interval say no more than its length."""
_NO_SPEED = "Paced times are no speed of these machines, and have no price."
_MOST_NAMED: Final = 12
"""Trials that a note names."""
_BARS = "▁▂▃▄▅▆▇█"


def mean_text(estimate: Estimate | None, write: Callable[[float], str], scale: float = 1.0) -> str:
    """Write ``mean ± half-width of the 95 % interval``, or ``mean (n = 1)``."""
    if estimate is None:
        return NONE
    middle = write(estimate.mean * scale)
    if estimate.half_width is None:
        return f"{middle} (n = 1)"
    decimals = len(middle.partition(".")[2])
    half_width = estimate.half_width * scale
    return f"{middle} ± {half_width:,.{decimals}f}"


def accuracy_text(cell: Cell, estimate: Estimate | None) -> str:
    """Write a mean accuracy in %, and how many trials diverged or did not learn."""
    remarks = [
        f"{count} {what}"
        for count, what in ((cell.diverged, "diverged"), (cell.not_learned, "did not learn"))
        if count
    ]
    text = mean_text(estimate, "{:.2f}".format, 100.0)
    if not remarks:
        return text
    if estimate is not None and estimate.n == 1:
        text, remarks = text.partition(" (")[0], ["n = 1", *remarks]
    return f"{text} ({', '.join(remarks)})"


def survivors_text(analysis: Analysis) -> list[str]:
    """Return notes on how means treat trials that lost roles, diverged or did not learn."""
    notes = []
    if any(cell.degraded for cell in analysis.cells):
        notes.append(
            "A degraded trial lost workers and went on with fewer, or a parameter server and went "
            "on from its checkpoint. It is in no mean, as it was not measured like the others; its "
            "figures are listed with the excluded trials."
        )
    if any(cell.diverged for cell in analysis.cells):
        notes.append(
            "A diverged trial has no accuracy, because its loss or a parameter was not finite. The "
            "mean covers the surviving trials only."
        )
    if any(cell.not_learned for cell in analysis.cells):
        notes.append(
            "A trial that did not learn is included in the mean. Its final accuracy is not above "
            "chance, or its final loss is above that of its first step."
        )
    return notes


def void_texts(analysis: Analysis) -> list[str]:
    """Return a note on void cells, if there are any."""
    if not any(cell.void for cell in analysis.cells):
        return []
    limit = analysis.context.void_after
    rule = f"A cell is void if {count_text(limit, 'repeat')} or more failed"
    return [f"{rule}: what is left is no sample of it. It has no averages."]


def scientific_text(estimate: Estimate | None) -> str:
    """Write a figure of unknown magnitude with two digits."""
    if estimate is None:
        return NONE
    if estimate.half_width is None:
        return f"{estimate.mean:.2g} (n = 1)"
    return f"{estimate.mean:.2g} ± {estimate.half_width:.1g}"


def range_text(estimate: Estimate | None, write: Callable[[float], str]) -> str:
    """Write the smallest and the largest of the values averaged."""
    if estimate is None:
        return NONE
    return f"{write(estimate.minimum)} to {write(estimate.maximum)}"


def excess_text(percent: float | None) -> str:
    """Write a difference in percent with its sign."""
    return NONE if percent is None else f"{percent:+.1f}"


def interval_text(ratio: RatioEstimate | Efficiency | None, style: str = "+.1f") -> str:
    """Write the ends of a 95 % interval."""
    if ratio is None:
        return NONE
    if ratio.low_percent is None or ratio.high_percent is None:  # the base of an efficiency
        return "base"
    if ratio.high_percent > _ENDLESS_PERCENT:
        return f"{ratio.low_percent:{style}} to over +{_ENDLESS_PERCENT}"
    return f"{ratio.low_percent:{style}} to {ratio.high_percent:{style}}"


def speedup_cells(speedup: Speedup | None) -> list[str]:
    """Write a speedup and its interval, one column each."""
    if speedup is None:
        return [NONE, NONE]
    return [f"{speedup.ratio:.2f}", f"{speedup.low:.2f} to {speedup.high:.2f}"]


def points_interval_text(points: Difference) -> str:
    """Write the ends of the interval of a difference in percentage points."""
    return f"{points.low:+.2f} to {points.high:+.2f}"


def pairs_text(ratio: RatioEstimate | Difference | None) -> str:
    """Write the number of trials behind a comparison."""
    if ratio is None:
        return NONE
    above, below = ratio.n
    return f"{above} pairs" if ratio.method == "paired" else f"{above} and {below}"


def n_text(cell: Cell) -> str:
    """Write the number of trials averaged, with the number planned if that is larger.

    Of a void cell, write how many failed.
    """
    if cell.void:
        return f"{cell.failed} of {cell.planned} failed"
    return str(cell.n) if cell.n == cell.planned else f"{cell.n} of {cell.planned}"


def lost_text(cell: Cell) -> str:
    """Write the number of planned trials that are not averaged, by status."""
    lost = (
        ("void", cell.voided),
        ("degraded", cell.degraded),
        ("diverged", cell.diverged),
        ("failed", cell.failed),
        ("interrupted", cell.interrupted),
        ("not run", cell.not_run),
        ("missing", cell.missing),
    )
    return ", ".join(f"{number} {name}" for name, number in lost if number) or NONE


def attempts_texts(analysis: Analysis) -> list[str]:
    """Return a note on the trials that were begun more than once, if there are any."""
    shown = [f"{name} ({count})" for name, count in analysis.attempts.items()]
    if not shown:
        return []
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return [f"Begun more than once (times): {', '.join(shown[:_MOST_NAMED])}{more}."]


def histogram_text(counts: Sequence[int], width: int = 16) -> str:
    """Draw a histogram in one line: neighboring bins are merged to fit, an empty one is a dot."""
    if not any(counts):
        return NONE
    merged = -(-len(counts) // width)
    bins = [sum(counts[start : start + merged]) for start in range(0, len(counts), merged)]
    top = max(bins)
    return "".join(_BARS[round(n / top * (len(_BARS) - 1))] if n else "." for n in bins)


def epoch_definition_text(analysis: Analysis) -> str:
    """Define an epoch of this report, and how its time behaves in the ideal case."""
    settings = analysis.settings
    definition = settings.epoch_definition
    ideal = {
        "replicated": "a flat line is ideal",
        "sharded": "times as 1/workers are ideal",
    }[definition]
    text = f"Epoch ({definition}): {EPOCH_DEFINITIONS[definition]}, so {ideal}"
    if settings.epoch_steps:
        text += f"; cut short after {settings.epoch_steps} steps, its seconds scaled to a whole one"
    return f"{text}."


def data_text(analysis: Analysis) -> str:
    """Name the data set, and the pace of the steps where there is one."""
    settings = analysis.settings
    pace = f", paced: {settings.pace_ms:g} ms per step or more" if settings.pace_ms else ""
    return f"{settings.data.title}{pace}"


def protocol_text(spec: ProtocolSpec, varied: Collection[str] = ()) -> str:
    """Write a protocol's title and the settings that apply to it, without those that vary."""
    protocol = find_protocol(spec.name)
    settings: dict[str, object] = {}
    if "learning_rate" not in varied:
        settings["learning rate"] = spec.learning_rate
    if spec.momentum and "momentum" not in varied:
        settings["momentum"] = spec.momentum
    if spec.clip_norm is not None and "clip_norm" not in varied:
        settings["gradients clipped to norm"] = spec.clip_norm
    if spec.rate_warmup_epochs and "rate_warmup_epochs" not in varied:
        settings["rising over epochs"] = spec.rate_warmup_epochs
    if spec.rate_decay_epochs and "rate_decay" not in varied:
        epochs = ", ".join(map(str, spec.rate_decay_epochs))
        settings[f"times {spec.rate_decay:g} at epochs"] = epochs
    for name, verb in (("n_fetch", "pull"), ("n_push", "push")):
        if getattr(spec, name) > 1 and name not in varied:
            settings[f"{verb} every"] = f"{getattr(spec, name)} steps"
    if spec.n_fetch > 1 and "local_rate" not in varied:
        settings["own rate of a worker"] = spec.own_rate
    options = protocol.options_of(spec).items()
    settings |= {name: value for name, value in options if name not in varied}
    values = (f"{words(name)} {_value_text(of)}" for name, of in settings.items())
    optimizer = [] if "optimizer" in varied else [spec.optimizer]
    text = ", ".join([*optimizer, *values])
    text = f"{protocol.title}: {text}" if text else protocol.title
    return f"{text}; every node is a worker" if protocol.connects_workers else text


def with_variation(text: str, variation: Mapping[str, Value]) -> str:
    """Add the settings that vary to the name of a comparison."""
    return f"{text}, {in_words(variation.items())}" if variation else text


def varied_text(analysis: Analysis) -> str:
    """List the settings that vary with their values."""
    return "; ".join(
        f"{words(name)} {', '.join(map(value_text, values))}"
        for name, values in analysis.varied.items()
    )


def unvaried(analysis: Analysis, **texts: str) -> list[str]:
    """Return the texts, by name of their setting, of the settings that all trials share."""
    return [text for name, text in texts.items() if name not in analysis.varied]


def common_text(analysis: Analysis, name: str, noun: str, varied: str) -> str:
    """Write a count that is a setting, such as ``2 epochs``, or the given words if it varies."""
    if name in analysis.varied:
        return varied
    return count_text(getattr(analysis.settings, name), noun)


def words(name: str) -> str:
    """Write the name of a setting in words."""
    return name.replace("_", " ")


def warm_start_texts(analysis: Analysis) -> list[str]:
    """Return the warm start as the report states it, if there is one that all trials share."""
    epochs = analysis.settings.warm_start_epochs
    text = f"after a warm start: {count_text(epochs, 'epoch')} of worker:0 alone, not measured"
    return unvaried(analysis, warm_start_epochs=text) if epochs else []


def _value_text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def sharing_text(analysis: Analysis) -> str:
    """Write how many roles share a core, or how steps were paced."""
    if pace_ms := analysis.settings.pace_ms:
        return f"Paced: a worker's push waited until {pace_ms:g} ms after its pull. {_NO_SPEED}"
    cores = analysis.context.host_cores
    per_core = {cell.nodes: cell.roles_per_core for cell in analysis.cells}
    core = "core" if cores == 1 else "cores"
    hosts = {p.nodes: f"on {len(set(p.tasks.values()))} hosts" for p in analysis.placements}
    shared = [
        f"{nodes} roles {hosts.get(nodes, f'share {cores} {core}')}: {ratio:.1f} roles per core"
        for nodes, ratio in sorted(per_core.items())
        if ratio > 1.0
    ]
    if not shared:
        return f"No role shares a core: up to {max(per_core)} roles on {cores} {core}."
    return (
        "; ".join(shared)
        + ". Roles that share a core wait for each other, so wall time grows with "
        "the number of roles."
    )


def cpu_change_texts(analysis: Analysis) -> list[str]:
    """Write how a worker's CPU time per example changed with the node count; [] for one count."""
    changes = []
    for growth in analysis.growth:
        ends = (CellKey(n, growth.protocol) for n in (growth.from_nodes, growth.to_nodes))
        low, high = (analysis.cell(key).worker_cpu_s_per_example for key in ends)
        if low and high and low.mean:
            change = excess_text(100.0 * (high.mean / low.mean - 1.0))
            nodes = f"{growth.from_nodes} to {growth.to_nodes} nodes"
            changes.append(f"{change} % under {growth.protocol} from {nodes}")
    return [f"Change of a worker's CPU time per example: {', '.join(changes)}."] if changes else []


def published_texts(analysis: Analysis) -> list[str]:
    """Return notes on the published figures: their source, and why some or all are not shown."""
    texts = []
    if any(cell.published_epoch_s for cell in analysis.cells):
        texts.append("Published: Mullapudi, UT Austin, 2017; MNIST, 4 virtual cores per node.")
    if analysis.unlike_report:
        reasons = "; ".join(analysis.unlike_report)
        texts.append(f"Not comparable with the published Table 2: {reasons}.")
    return texts


def machines_text(context: Context) -> str:
    """Describe what the trials ran on: one machine, or a number of hosts of certain kinds."""
    hosts = context.hosts
    if len(hosts) <= 1:
        return f"{context.cpu_model}, {count_text(context.host_cores, 'core')}"
    groups = machine_groups(hosts)
    machines = sum(group.machines for group in groups)
    shared = f" on {count_text(machines, 'machine')}" if machines < len(hosts) else ""
    kinds = [f"{g.machines} x {g.cpu_model}, {count_text(g.cores, 'core')}" for g in groups]
    return f"{len(hosts)} hosts{shared}: {'; '.join(kinds)}"


def figure_title(analysis: Analysis, nodes: int) -> str:
    """Return the title of the figure, with its data."""
    return f"Seconds per epoch of a typical trial, {nodes} nodes ({data_text(analysis)})"


def figure_notes(analysis: Analysis) -> list[str]:
    """Return the notes below the figure."""
    return [
        "Typical: the trial whose mean epoch time is the median of its cell.",
        "Each point is the mean over the workers.",
        *(["Of the settings that vary, the first of each protocol."] if analysis.varied else []),
    ]
