"""The formats of the report, one entry each; only the libraries of the chosen one are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.text.screen import Screen


class Wish(NamedTuple):
    """A report that was asked for.

    Attributes:
        analysis: what to show.
        screen: where a terminal format is seen.
        nodes: node count of the figure; the smallest if None.
        figure: file of the figure, for a format that names it.
        is_full: whether a terminal format shows all tables; the other formats always do.
    """

    analysis: Analysis
    screen: Screen
    nodes: int | None = None
    figure: Path | None = None
    is_full: bool = False


def _terminal(wish: Wish) -> str:
    from dnnbench.report import terminal

    if not wish.is_full:
        return terminal.render_short(wish.analysis, wish.screen)
    return terminal.render(wish.analysis, wish.screen, nodes=wish.nodes)


def _markdown(wish: Wish) -> str:
    from dnnbench.report import markdown

    figure = str(wish.figure) if wish.figure else None
    return markdown.render(wish.analysis, figure=figure, nodes=wish.nodes)


def _csv(wish: Wish) -> str:
    from dnnbench.report import export

    return export.as_csv(wish.analysis)


def _json(wish: Wish) -> str:
    from dnnbench.report import export

    return export.as_json(wish.analysis)


FORMATS: Final[dict[str, Callable[[Wish], str]]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
}
