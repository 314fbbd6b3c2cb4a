"""The counterpart of Figure 16: seconds per epoch of a typical trial by protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.figures.picture import Picture, name_of, style_of
from dnnbench.report.typical import epoch_figure

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

    from dnnbench.report.figures.picture import Subject
    from dnnbench.report.typical import EpochFigure


def picture(subject: Subject) -> Picture | None:
    """Return the figure; None if no trial with this node count succeeded."""
    drawn = epoch_figure(subject.analysis, subject.nodes)
    if not drawn.trials:
        return None
    notes = ["Band: from the fastest to the slowest worker."]
    if drawn.not_comparable:
        notes.append(f"No published means: {'; '.join(drawn.not_comparable)}.")
    return Picture(
        title=drawn.title,
        notes=[*w.figure_notes(subject.analysis), *notes],
        draw=lambda figure: _draw(figure, drawn),
    )


def _draw(figure: FigureBase, drawn: EpochFigure) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    for protocol, trial in drawn.trials.items():
        color, _, marker = style_of(protocol)
        label = name_of(protocol, f"trial {trial.id}")
        axes.plot(trial.epochs, trial.mean_s, color=color, marker=marker, label=label)
        axes.fill_between(
            trial.epochs,
            trial.fastest_worker_s,
            trial.slowest_worker_s,
            color=color,
            alpha=0.15,
            linewidth=0,
        )
    for protocol, published_s in drawn.published_s.items():
        axes.axhline(
            published_s,
            color=style_of(protocol).color,
            linestyle="--",
            linewidth=0.8,
            label=name_of(protocol, f"published mean {published_s:.2f} s"),
        )
    axes.set_ylim(drawn.ticks_s[0], drawn.ticks_s[-1])
    axes.set_yticks(drawn.ticks_s)
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Seconds per epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(fontsize="small", frameon=False, loc="outside lower center", ncols=2)
