"""The report as GitHub Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.tables import closing_notes, facts, report_tables
from dnnbench.report.verdict import verdict_fields
from dnnbench.text.safe import markdown
from dnnbench.text.tables import fields_markdown, table_markdown

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis


def render(analysis: Analysis, *, figure: str | None = None, nodes: int | None = None) -> str:
    """Return the full report, verdict first.

    Args:
        analysis: the figures to show.
        figure: path of the saved figure, relative to the Markdown; None leaves it out.
        nodes: node count that the figure shows; the smallest if not given.
    """
    sections = [f"# dnnbench report: {markdown(analysis.settings.sweep)}"]
    sections += ["## Verdict", fields_markdown(verdict_fields(analysis, is_private=False))]
    sections += ["## Sweep", fields_markdown(facts(analysis))]
    if analysis.warnings:
        sections.append("\n".join(f"> **Warning**: {markdown(x)}  " for x in analysis.warnings))
    first, *others = map(table_markdown, report_tables(analysis))
    sections.append(first)
    if figure is not None:
        sections.append(
            _figure(analysis, figure, analysis.smallest_nodes if nodes is None else nodes)
        )
    notes = "\n".join(f"- {markdown(note)}" for note in closing_notes(analysis))
    return "\n\n".join([*sections, *others, "## Notes", notes]) + "\n"


def _figure(analysis: Analysis, figure: str, nodes: int) -> str:
    title = markdown(w.figure_title(analysis, nodes))
    target = figure.replace("\\", "/").replace(" ", "%20")
    if not re.fullmatch(r"[\w./%-]+", target):
        target = f"<{target}>"  # parentheses would end the link
    notes = "\n".join(f"- {markdown(note)}" for note in w.figure_notes(analysis))
    return "\n\n".join([f"## {title}", f"![{title}]({target})", notes])
