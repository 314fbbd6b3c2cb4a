"""The report as GitHub Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.tables import facts, report_tables

if TYPE_CHECKING:
    from dnnbench.analysis import Analysis
    from dnnbench.report.tables import Table


def render(analysis: Analysis, *, figure: str | None = None, nodes: int | None = None) -> str:
    """Return the whole report.

    Args:
        analysis: what to show.
        figure: path of the saved figure, relative to the Markdown; None leaves it out.
        nodes: whose epochs the figure shows; the smallest node count if not given.
    """
    sections = [f"# dnnbench report: {_escape(analysis.settings.sweep)}"]
    sections.append("\n".join(f"- **{name}**: {_escape(line)}" for name, line in facts(analysis)))
    if analysis.warnings:
        sections.append("\n".join(f"> **Warning**: {_escape(x)}  " for x in analysis.warnings))
    first, *others = (_table(table) for table in report_tables(analysis))
    sections.append(first)
    if figure is not None:
        sections.append(_figure(analysis, figure, analysis.nodes[0] if nodes is None else nodes))
    return "\n\n".join([*sections, *others]) + "\n"


def _figure(analysis: Analysis, figure: str, nodes: int) -> str:
    title = w.figure_title(analysis, nodes)
    target = figure.replace("\\", "/").replace(" ", "%20")
    return "\n\n".join([f"## {title}", f"![{title}](<{target}>)", *w.figure_notes(analysis)])


def _table(table: Table) -> str:
    from tabulate import tabulate  # the other formats answer without it

    headers = [f"{c.group}<br>{c.name}" if c.group else c.name for c in table.columns]
    # tabulate formats numbers anew and eats spaces unless told that all is text already.
    body = tabulate(
        [[_escape(text) for text in row] for row in [*table.rows, *table.totals]],
        headers=headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if column.is_text else "right" for column in table.columns],
    )
    return "\n\n".join([f"## {_escape(table.title)}", body, *map(_escape, table.notes)])


def _escape(text: str) -> str:
    """Keep text from others from being read as Markdown or HTML."""
    for sign, written in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "\\`"), ("*", "\\*")):
        text = text.replace(sign, written)
    return " ".join(text.split("\n"))
