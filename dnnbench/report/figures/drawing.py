"""The table of figures, and how each becomes a file or part of a page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dnnbench.errors import ConfigError, ResultsError
from dnnbench.report.figures.picture import FAINT, INK, STYLES
from dnnbench.text.safe import html, one_line
from dnnbench.text.screen import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.report.figures.picture import Picture, Subject


def _scaling(subject: Subject) -> Picture | None:
    from dnnbench.report.figures import scaling

    return scaling.picture(subject)


def _accuracy(subject: Subject) -> Picture | None:
    from dnnbench.report.figures import accuracy

    return accuracy.picture(subject)


def _epochs(subject: Subject) -> Picture | None:
    from dnnbench.report.figures import epochs

    return epochs.picture(subject)


class Kind(NamedTuple):
    """A figure of the table.

    Attributes:
        picture: makes it; None if the sweep has nothing to draw.
        missing: why it has nothing then, with ``{nodes}`` for the node count.
    """

    picture: Callable[[Subject], Picture | None]
    missing: str


FIGURES: Final = {
    "scaling": Kind(_scaling, "no protocol succeeded with several node counts"),
    "accuracy": Kind(_accuracy, "no successful trial has an accuracy"),
    "epochs": Kind(_epochs, "no trial with {nodes} nodes succeeded"),
}
"""In the order of a report; each imports its own module, because most reports have no figure."""

SUFFIXES: Final = (".png", ".svg")
_WIDTH: Final = 7.5
_LINE: Final = 0.16
"""Inches of a line of notes."""
_NOTE_WIDTH: Final = 125
_COLORS: Final = {INK: "currentColor", FAINT: "var(--faint)"} | {
    style.color: f"var(--series-{number})" for number, style in enumerate(STYLES)
}
"""Color in a file -> color in a page, which knows whether it is light or dark."""


def default_figure(subject: Subject) -> str:
    """Return the name of the figure that a report shows if it shows one.

    That is the growth over the node counts, or the epochs of one node count if that was asked for
    or if there is only one.
    """
    is_scaling = subject.nodes is None and _scaling(subject) is not None
    return "scaling" if is_scaling else "epochs"


def draw(subject: Subject, path: Path, name: str | None = None) -> bytes:
    """Return a figure as the content of a file.

    Args:
        subject: what to draw.
        path: of the file; its suffix, one of `SUFFIXES`, determines the format.
        name: of the figure; `default_figure` if None.

    Raises:
        ConfigError: another suffix.
        ResultsError: the sweep has nothing to draw.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"cannot write a figure in the format {path.suffix or '(none)'!r}",
            where=str(path),
            remedy=f"use one of {', '.join(SUFFIXES)}",
        )
    name = name or default_figure(subject)
    kind = FIGURES[name]
    picture = kind.picture(subject)
    if picture is None:
        analysis = subject.analysis
        nodes = analysis.smallest_nodes if subject.nodes is None else subject.nodes
        raise ResultsError(kind.missing.format(nodes=nodes), where=analysis.settings.sweep)
    return _drawn(picture, path.suffix[1:], is_alone=True)


def svg_of(picture: Picture, name: str) -> str:
    """Return a figure as an SVG element of a page, in the colors of its style sheet.

    Args:
        picture: to draw; its title and notes are left to the page.
        name: unique in the page.
    """
    text = _drawn(picture, "svg", is_alone=False).decode()
    _, _, body = text.partition("</metadata>")  # no names of XML, no DOCTYPE, no outside addresses
    size = re.search(r'viewBox="[\d. ]+"', text)
    assert size is not None, "Matplotlib gives every SVG its size"
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body.replace("xlink:href", "href"))
    body = re.sub(r"<style.*?</style>", "", body, count=1, flags=re.DOTALL)  # for all of a page
    for color, variable in _COLORS.items():
        body = body.replace(color, variable)
    return f'<svg {size[0]} role="img" aria-label="{html(picture.title)}">{body}'


def _drawn(picture: Picture, kind: str, *, is_alone: bool) -> bytes:
    # Importing Matplotlib takes longer than the rest of a report.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        # Text stays text, a $ does not begin a formula, and equal figures make equal files.
        "svg.fonttype": "none",
        "svg.hashsalt": "dnnbench",
        "text.parse_math": False,
        "axes.labelsize": "medium",
        "font.size": 9,
        "axes.grid": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.4,
        "grid.alpha": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        **dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
        ),
    }
    notes = [
        line
        for note in picture.notes
        for line in wrapped(one_line(note.replace("`", "")), _NOTE_WIDTH)
    ]
    below = _LINE * (len(notes) + 1) if is_alone else 0.0
    with rc_context(style):
        figure = Figure(figsize=(_WIDTH, picture.height + below), layout="constrained")
        FigureCanvasAgg(figure)
        if is_alone:
            above, under = figure.subfigures(
                2, 1, height_ratios=(picture.height, below), squeeze=False
            ).flat
            above.suptitle(one_line(picture.title), fontsize="medium")
            under.text(0.02, 0.9, "\n".join(notes), fontsize="x-small", verticalalignment="top")
            picture.draw(above)
        else:
            picture.draw(figure)
        into = io.BytesIO()
        figure.savefig(
            into,
            format=kind,
            dpi=150,
            metadata={"Date": None} if kind == "svg" else None,
            transparent=not is_alone,
        )
        return into.getvalue()
