"""The formats of costs, one entry each; layout libraries are imported when one is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.cost.sweep import SweepCost
    from dnnbench.cost.table1 import Table1
    from dnnbench.text.screen import Screen


def _terminal(table_1: Table1, sweep: SweepCost | None, screen: Screen) -> str:
    from dnnbench.cost import render

    return render.render(table_1, sweep, screen)


def _markdown(table_1: Table1, sweep: SweepCost | None, _screen: Screen) -> str:
    from dnnbench.cost import render

    return render.render_markdown(table_1, sweep)


def _csv(table_1: Table1, sweep: SweepCost | None, _screen: Screen) -> str:
    from dnnbench.cost import export

    return export.as_csv(table_1, sweep)


def _json(table_1: Table1, sweep: SweepCost | None, _screen: Screen) -> str:
    from dnnbench.cost import render

    return render.as_json(table_1, sweep)


FORMATS: Final[dict[str, Callable[[Table1, SweepCost | None, Screen], str]]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
}
