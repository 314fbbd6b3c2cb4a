from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support import SUPPORT
from support.factories import (
    make_context,
    make_failed,
    make_order,
    make_sweep,
    make_sweep_on_hosts,
)
from support.page import Page

from benchmarks import screenshots
from dnnbench.analysis.analyse import analyse
from dnnbench.report import page
from dnnbench.report.figures.drawing import FIGURES
from dnnbench.report.figures.picture import Subject
from dnnbench.report.tables import closing_notes, report_tables
from dnnbench.report.verdict import verdict_fields

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Return the sweep of Table 2 on hosts of their own."""
    outcomes, context = make_sweep_on_hosts()
    return Subject(analyse(outcomes, context), outcomes)


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_page_holds_the_whole_report_verdict_first(subject: Subject) -> None:
    read = Page(page.render(subject))
    headings = [words(text) for text in read.texts["h2"]]
    titles = [table.title for table in report_tables(subject.analysis)]
    pictures = [kind.picture(subject) for kind in FIGURES.values()]
    assert all(pictures)
    figures = [picture.title for picture in pictures if picture]
    assert headings == ["Verdict", "Sweep", titles[0], *figures, *titles[1:], "Notes"]
    (body,) = read.texts["main"]
    for _, answer in verdict_fields(subject.analysis, is_private=False):
        assert words(answer.replace("`", "")) in words(body)
    for note in closing_notes(subject.analysis):
        assert words(note) in words(body)
    assert len(read.texts["svg"]) == len(FIGURES)


def test_every_table_of_the_page_has_the_cells_of_the_report(subject: Subject) -> None:
    read = Page(page.render(subject))
    tables = report_tables(subject.analysis)
    assert len(read.texts["table"]) == len(tables)
    rows = [row for table in tables for row in (*table.rows, *table.totals)]
    cells = [words(cell) for row in rows for cell in row]
    assert [words(text) for text in read.texts["td"] if text.strip()] == list(filter(None, cells))


def test_a_page_depends_on_the_readers_colors_and_has_none_of_its_own_left(
    subject: Subject,
) -> None:
    text = page.render(subject)
    (style,) = Page(text).texts["style"]
    assert "prefers-color-scheme: dark" in style
    _, _, drawn = text.partition("</style>")
    for color in ("#0072b2", "#1b1e23", "#000000"):
        assert color not in drawn.lower()
    for variable in ("currentColor", "var(--series-0)", "var(--series-1)", "var(--faint)"):
        assert variable in drawn
        name = variable.removeprefix("var(").removesuffix(")")
        assert f"{name}:" in style or name == "currentColor"


def test_what_others_wrote_is_text() -> None:
    cause = '<script>alert("1")</script> & "quoted" `code <b>`'
    outcomes = [*make_sweep(2), make_failed(make_order(4, "downpour", 3), cause=cause)]
    text = page.render(Subject(analyse(outcomes, make_context()), outcomes))
    read = Page(text)
    assert any(cause.replace("`", "") in cell for cell in read.texts["td"])
    assert "<script" not in text


def test_a_sweep_without_any_figure_has_a_page() -> None:
    outcomes = [make_failed(make_order(4))]
    read = Page(page.render(Subject(analyse(outcomes, make_context()), outcomes)))
    assert "svg" not in read.texts
    assert "the connection was refused" in "".join(read.texts["td"])


@pytest.mark.skipif(screenshots.browser() is None, reason="needs chromium")
def test_a_browser_shows_the_page_in_the_readers_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.image import imread

    sweep = SUPPORT / "stored" / "results" / "2026-11-25T17-53-33Z"
    monkeypatch.setattr(sys, "argv", ["screenshots", str(sweep), str(tmp_path)])
    screenshots.main()
    names = [f"report-{scheme}.png" for scheme in ("dark", "light")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    dark, light = (imread(tmp_path / name)[..., :3] for name in names)
    assert dark[2, 2].mean() < 0.2
    assert light[2, 2].mean() > 0.9
    for pixels in (dark, light):
        # Text, and both protocols' colors in the figures, stand out from the page.
        contrast = abs(pixels.mean(axis=2) - pixels[2, 2].mean())
        assert (contrast > 0.5).mean() > 0.01
        spread = pixels.max(axis=2) - pixels.min(axis=2)
        assert (spread > 0.4).sum() > 500
