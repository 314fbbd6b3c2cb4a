"""The report as one page of HTML, which opens offline and loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report.figures.drawing import FIGURES, svg_of
from dnnbench.report.figures.picture import STYLES
from dnnbench.report.tables import closing_notes, facts, report_tables
from dnnbench.report.verdict import verdict_fields
from dnnbench.text.hypertext import (
    fields_html,
    notes_html,
    page_html,
    section_html,
    table_html,
    warnings_html,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnnbench.report.figures.picture import Subject


def render(subject: Subject) -> str:
    """Return the full report, verdict first."""
    analysis = subject.analysis
    answers = fields_html(verdict_fields(analysis, is_private=False))
    first, *others = map(table_html, report_tables(analysis))
    sections = [
        section_html("Verdict", answers, kind="verdict"),
        warnings_html(analysis.warnings),
        section_html("Sweep", fields_html(facts(analysis))),
        first,
        *_figures(subject),
        *others,
        section_html("Notes", notes_html(closing_notes(analysis))),
    ]
    title = f"dnnbench report: {analysis.settings.sweep}"
    return page_html(title, _style(), filter(None, sections))


def _figures(subject: Subject) -> Iterator[str]:
    for name, kind in FIGURES.items():
        picture = kind.picture(subject)
        if picture is not None:
            drawn = f"<figure>\n{svg_of(picture, name)}</figure>"
            yield section_html(picture.title, drawn, notes_html(picture.notes))


def _style() -> str:
    """Return the colors of the figures, on a light and on a dark page."""
    light = " ".join(f"--series-{number}: {s.color};" for number, s in enumerate(STYLES))
    dark = " ".join(f"--series-{number}: {s.on_dark};" for number, s in enumerate(STYLES))
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
