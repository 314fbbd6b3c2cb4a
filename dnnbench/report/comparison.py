"""Write a comparison of two sweeps for a terminal, as Markdown and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.analysis.compare import METRICS, PUBLISHED
from dnnbench.text.safe import json_text
from dnnbench.text.tables import (
    NONE,
    Column,
    Table,
    fields_markdown,
    fields_text,
    table_markdown,
    table_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.analysis.compare import Change, Compared, Comparison
    from dnnbench.analysis.stats import Estimate
    from dnnbench.text.screen import Screen
    from dnnbench.text.tables import Fields

JSON_VERSION: Final = 1
_WORDS: Final[dict[Change, str]] = {
    "better": "better",
    "worse": "worse",
    "none": "no difference",
    "unknown": "n = 1: unknown",
}


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return a table for each metric that was compared."""
    metrics = dict.fromkeys(row.metric for row in comparison.rows)
    return [_table(comparison, metric) for metric in metrics]


def _table(comparison: Comparison, metric: str) -> Table:
    chosen = METRICS[metric]
    rows = [row for row in comparison.rows if row.metric == metric]
    return Table(
        f"{chosen.title[0].upper()}{chosen.title[1:]}",
        [
            Column("Cell", is_text=True),
            Column("first"),
            Column("second"),
            Column(f"change, {chosen.unit}"),
            Column("95 % interval"),
            Column("told", is_text=True),
        ],
        [
            [
                row.cell,
                _mean(row.first, has_spread=comparison.first != PUBLISHED),
                _mean(row.second),
                f"{row.change.mean:+.1f}" if row.change else NONE,
                f"{row.change.low:+.1f} to {row.change.high:+.1f}" if row.change else NONE,
                _WORDS[row.told],
            ]
            for row in rows
        ],
        [_method(comparison, rows)],
    )


def _mean(found: Estimate | None, *, has_spread: bool = True) -> str:
    if found is None:
        return NONE
    return f"{found.mean:.4g} (n = {found.n})" if has_spread else f"{found.mean:.4g}"


def _method(comparison: Comparison, rows: list[Compared]) -> str:
    how = {
        "paired": "Trials of equal seeds are paired (t interval of their differences).",
        "welch": "The sweeps share no seeds (Welch's interval).",
    }
    if comparison.first == PUBLISHED:
        texts = ["t interval of the sweep around the published mean."]
    else:
        texts = [how[method] for method in sorted({r.change.method for r in rows if r.change})]
    told = "A difference counts if its interval excludes 0, which chance does 1 time in 20."
    return " ".join([*texts, told])


def facts(comparison: Comparison) -> Fields:
    """Return what is compared, and what else differs."""
    differ = "; ".join(comparison.differences) or "the same"
    return [
        ("First", comparison.first),
        ("Second", comparison.second),
        ("Settings", differ),
        *(("Note", note) for note in comparison.notes),
    ]


def _terminal(comparison: Comparison, screen: Screen) -> str:
    tables = [table_text(table, screen) for table in comparison_tables(comparison)]
    return "".join([fields_text(facts(comparison), screen), *tables])


def _markdown(comparison: Comparison, _screen: Screen) -> str:
    parts = ["# dnnbench compare", fields_markdown(facts(comparison))]
    return "\n\n".join([*parts, *map(table_markdown, comparison_tables(comparison))]) + "\n"


def _json(comparison: Comparison, _screen: Screen) -> str:
    content = msgspec.to_builtins(comparison)
    for row, of in zip(content["rows"], comparison.rows, strict=True):
        row["told"] = of.told
        row["unit"] = METRICS[of.metric].unit
    return json_text({"dnnbench_comparison": JSON_VERSION, **content})


FORMATS: Final[dict[str, Callable[[Comparison, Screen], str]]] = {
    "terminal": _terminal,
    "markdown": _markdown,
    "json": _json,
}
"""The formats of a comparison, one entry each."""
