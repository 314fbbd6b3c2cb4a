"""The report of a sweep as files: Markdown and its figure."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError
from dnnbench.report.figures.drawing import FIGURES, SUFFIXES, default_figure, draw
from dnnbench.sweep.documents import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.report.figures.picture import Subject


def write_markdown(
    subject: Subject, path: Path, *, name: str | None = None, figure: Path | None = None
) -> list[Path]:
    """Write the report as Markdown, with a figure beside it.

    Args:
        subject: what to write.
        path: of the Markdown.
        name: of the figure in the table of figures; the default one if None.
        figure: path of the figure; if not given, PNG and SVG with the Markdown's name.

    Returns:
        The files written; the figure is left out if the sweep has nothing to draw.

    Raises:
        ConfigError: the Markdown has the name of a figure.
        ResultsError: a file cannot be written.
    """
    from dnnbench.report import markdown  # not every format needs it

    name = name or default_figure(subject)
    paths = [path.with_suffix(kind) for kind in SUFFIXES] if figure is None else [figure]
    if FIGURES[name].picture(subject) is None:
        paths = []
    if path in paths:
        problem, remedy = "is also the name of the figure", "end it with .md"
        raise ConfigError(problem, where=str(path), remedy=remedy)
    text = markdown.render(subject, figure=_relative(paths[0], path) if paths else None, name=name)
    contents = {path: text.encode(), **{target: draw(subject, target, name) for target in paths}}
    for target, content in contents.items():  # all of them are made before one is written
        write_whole(target, content)
    return list(contents)


def write_figure(subject: Subject, path: Path, name: str | None = None) -> None:
    """Draw a figure of the table of figures, the default one if None, into a PNG or SVG file."""
    write_whole(path, draw(subject, path, name))


def _relative(figure: Path, markdown: Path) -> str:
    """Return the figure's path relative to the Markdown."""
    return os.path.relpath(figure, markdown.parent)  # pathlib can do this from Python 3.12 on
