"""The command that takes the next step of a verdict."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.verdict import Step

_PRIVATE: Final = ("--data-dir", "--results-dir", "--config")
"""Options whose values are private to this machine."""


def step_text(analysis: Analysis, step: Step, *, is_private: bool) -> str:
    """Return the command that takes a step, as it has to be typed."""
    path = sweep_path(analysis, is_private=is_private)
    nodes = max(analysis.nodes)
    if step.name == "resume":
        return f"`dnnbench run --resume {path}` runs what is missing"
    if step.name == "predict":
        return f"`dnnbench predict {path}` for hosts of their own"
    if step.name == "price":
        return f"`dnnbench cost {path}`"
    changes = {
        "own hosts": {"--hosts": f"HOST1,...,HOST{nodes}"},
        "repeat": {"--repeats": str(step.repeats)},
        "more nodes": {"--nodes": "4,8,12"},
        "more protocols": {"--protocols": ",".join(_with_comparison(analysis))},
    }[step.name]
    options = {
        option: "..." if option in _PRIVATE and not is_private else value and shlex.quote(value)
        for option, value in analysis.context.options.items()
    }
    words = (f"{option} {value}".strip() for option, value in (options | changes).items())
    return f"`{' '.join(['dnnbench run', *words])}`"


def _with_comparison(analysis: Analysis) -> list[str]:
    """Return the protocols, and one that makes two of them comparable."""
    names = analysis.protocols
    baselines = [find_protocol(name).baseline for name in names]
    missing = [name for name in baselines if name and name not in names]
    return [missing[0], *names] if missing else [*dict.fromkeys(["downpour", *names, "dc-sgd"])]


def sweep_path(analysis: Analysis, *, is_private: bool) -> str:
    """Return the argument by which other commands find the sweep."""
    context = analysis.context
    return shlex.quote(context.path if is_private and context.path else analysis.settings.sweep)
