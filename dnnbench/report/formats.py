"""The formats of the report, one entry each; only the libraries of the chosen one are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.report.figures.picture import Subject
    from dnnbench.text.screen import Screen


class Wish(NamedTuple):
    """A report that was asked for.

    Attributes:
        subject: what to show.
        screen: where a terminal format is seen.
        figure: file of the figure, for a format that names it.
        drawn: name of that figure in the table of figures; the default one if None.
        is_full: whether a terminal format shows all tables; the other formats always do.
        rows: name of the table of rows, for a format that has rows.
    """

    subject: Subject
    screen: Screen
    figure: Path | None = None
    drawn: str | None = None
    is_full: bool = False
    rows: str = "cells"


def _terminal(wish: Wish) -> str:
    from dnnbench.report import terminal

    analysis, _, nodes = wish.subject
    if not wish.is_full:
        return terminal.render_short(analysis, wish.screen)
    return terminal.render(analysis, wish.screen, nodes=nodes)


def _markdown(wish: Wish) -> str:
    from dnnbench.report import markdown

    figure = str(wish.figure) if wish.figure else None
    return markdown.render(wish.subject, figure=figure, name=wish.drawn)


def _html(wish: Wish) -> str:
    from dnnbench.report import page

    return page.render(wish.subject)


def _csv(wish: Wish) -> str:
    from dnnbench.report.rows import table

    return table.as_csv(wish.subject, wish.rows)


def _json(wish: Wish) -> str:
    from dnnbench.report import export

    return export.as_json(wish.subject.analysis)


FORMATS: Final[dict[str, Callable[[Wish], str]]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "html": _html,
    "csv": _csv,
    "json": _json,
}
