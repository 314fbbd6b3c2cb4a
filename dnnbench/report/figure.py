"""The counterpart of Figure 16 as a file: seconds per epoch of a typical trial by protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError, ResultsError
from dnnbench.report.epochs import epoch_figure
from dnnbench.text.safe import one_line
from dnnbench.text.screen import wrapped
from dnnbench.trial.protocols import find_protocol, position

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.report.epochs import EpochFigure
    from dnnbench.trial.spec import ProtocolName

FORMATS = (".png", ".svg")
_CAPTION_WIDTH = 90

# From Okabe and Ito's palette, which colour-blind readers can tell apart; the markers differ too.
_STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
)
"""Colour and marker of each protocol, in the order of the table of protocols; reused in turn."""


def save(analysis: Analysis, path: Path, nodes: int | None = None) -> None:
    """Draw the figure into ``path``, whole or not at all.

    Args:
        analysis: the figures to draw.
        path: its suffix, ``.png`` or ``.svg``, determines the format.
        nodes: node count to draw; the smallest if not given.

    Raises:
        ConfigError: another suffix.
        ResultsError: no trial with this node count succeeded.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(
            f"cannot write a figure in the format {path.suffix or '(none)'!r}",
            where=str(path),
            remedy=f"use one of {', '.join(FORMATS)}",
        )
    drawn = epoch_figure(analysis, nodes)
    if not drawn.trials:
        raise ResultsError(
            f"no trial with {drawn.nodes} nodes succeeded", where=analysis.settings.sweep
        )
    # Importing Matplotlib takes longer than the rest of a report.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # Text stays text, a $ does not begin a formula, and equal figures make equal files.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "dnnbench", "text.parse_math": False}):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for protocol, trial in drawn.trials.items():
            colour, marker = _style(protocol)
            label = one_line(f"{find_protocol(protocol).title}, trial {trial.id}")
            axes.plot(trial.epochs, trial.mean_s, color=colour, marker=marker, label=label)
            axes.fill_between(
                trial.epochs,
                trial.fastest_worker_s,
                trial.slowest_worker_s,
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
        for protocol, published_s in drawn.published_s.items():
            axes.axhline(
                published_s,
                color=_style(protocol)[0],
                linestyle="--",
                linewidth=0.8,
                label=f"{find_protocol(protocol).title}, published mean {published_s:.2f} s",
            )
        axes.set_ylim(drawn.ticks_s[0], drawn.ticks_s[-1])
        axes.set_yticks(drawn.ticks_s)
        axes.set_title(one_line(drawn.title), fontsize="medium")
        axes.set_xlabel(_caption(drawn))
        axes.set_ylabel("Seconds per epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, linewidth=0.4, alpha=0.6)
        figure.legend(fontsize="small", frameon=False, loc="outside lower center", ncols=2)
        kind = path.suffix[1:]
        aside = path.with_name(f".{path.name}.part")
        metadata = {"Date": None} if kind == "svg" else None
        try:
            figure.savefig(aside, format=kind, dpi=150, metadata=metadata)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _caption(drawn: EpochFigure) -> str:
    caption = "Epoch (line: mean over workers; band: fastest to slowest worker)"
    if not drawn.not_comparable:
        return caption
    reasons = one_line(f"no published means: {'; '.join(drawn.not_comparable)}")
    return "\n".join([caption, *wrapped(reasons, _CAPTION_WIDTH)])


def _style(protocol: ProtocolName) -> tuple[str, str]:
    return _STYLES[position(protocol) % len(_STYLES)]
