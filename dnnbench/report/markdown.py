"""The report as GitHub Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dnnbench.report.figures.drawing import FIGURES, default_figure
from dnnbench.report.tables import closing_notes, facts, report_tables
from dnnbench.report.verdict import verdict_fields
from dnnbench.text.safe import markdown
from dnnbench.text.tables import fields_markdown, table_markdown

if TYPE_CHECKING:
    from dnnbench.report.figures.picture import Picture, Subject


def render(subject: Subject, *, figure: str | None = None, name: str | None = None) -> str:
    """Return the full report, verdict first.

    Args:
        subject: what to show.
        figure: path of the saved figure, relative to the Markdown; None leaves it out.
        name: of the figure in the table of figures; the default one if None.
    """
    analysis = subject.analysis
    sections = [f"# dnnbench report: {markdown(analysis.settings.sweep)}"]
    sections += ["## Verdict", fields_markdown(verdict_fields(analysis, is_private=False))]
    sections += ["## Sweep", fields_markdown(facts(analysis))]
    if analysis.warnings:
        sections.append("\n".join(f"> **Warning**: {markdown(x)}  " for x in analysis.warnings))
    first, *others = map(table_markdown, report_tables(analysis))
    sections.append(first)
    picture = FIGURES[name or default_figure(subject)].picture(subject) if figure else None
    if figure and picture:
        sections.append(_figure(picture, figure))
    notes = "\n".join(f"- {markdown(note)}" for note in closing_notes(analysis))
    return "\n\n".join([*sections, *others, "## Notes", notes]) + "\n"


def _figure(picture: Picture, figure: str) -> str:
    title = markdown(picture.title)
    target = figure.replace("\\", "/").replace(" ", "%20")
    if not re.fullmatch(r"[\w./%-]+", target):
        target = f"<{target}>"  # parentheses would end the link
    notes = "\n".join(f"- {markdown(note)}" for note in picture.notes)
    return "\n\n".join([f"## {title}", f"![{title}]({target})", notes])
