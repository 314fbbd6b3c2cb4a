"""The report of a sweep as files: Markdown and its figure."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

from dnnbench.report.figure import FORMATS as FIGURE_FORMATS
from dnnbench.sweep.documents import write_whole, writing

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.analysis.analyse import Analysis


def write_markdown(
    analysis: Analysis, path: Path, *, nodes: int | None = None, figure: Path | None = None
) -> list[Path]:
    """Write the report as Markdown, with its figure beside it.

    Args:
        analysis: the figures to write.
        path: of the Markdown.
        nodes: node count that the figure shows; the smallest if not given.
        figure: path of the figure; if not given, PNG and SVG with the Markdown's name.

    Returns:
        The files written; the figure is left out if no trial with this node count succeeded.
    """
    from dnnbench.report import markdown  # not every format needs it

    paths = [path.with_suffix(kind) for kind in FIGURE_FORMATS] if figure is None else [figure]
    if not has_figure(analysis, nodes):
        paths = []
    for target in paths:
        write_figure(analysis, target, nodes)
    text = markdown.render(
        analysis, figure=_relative(paths[0], path) if paths else None, nodes=nodes
    )
    write_whole(path, text.encode())
    return [path, *paths]


def write_figure(analysis: Analysis, path: Path, nodes: int | None = None) -> None:
    """Draw the figure into a PNG or SVG file."""
    from dnnbench.report import figure  # not every format needs it

    with writing(path):
        figure.save(analysis, path, nodes)


def has_figure(analysis: Analysis, nodes: int | None) -> bool:
    """Return whether a trial with this node count succeeded."""
    nodes = analysis.smallest_nodes if nodes is None else nodes
    return any(cell.typical for cell in analysis.cells if cell.nodes == nodes)


def _relative(figure: Path, markdown: Path) -> str:
    """Return the figure's path relative to the Markdown."""
    return os.path.relpath(figure, markdown.parent)  # pathlib can do this from Python 3.12 on
