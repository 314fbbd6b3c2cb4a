"""The report for a terminal of 80 columns or more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.analysis.excluded import by_status
from dnnbench.report import wording as w
from dnnbench.report.tables import closing_notes, facts, report_tables, short_tables, summary
from dnnbench.report.typical import epoch_figure
from dnnbench.report.verdict import verdict_text
from dnnbench.text.chart import Series, chart_text
from dnnbench.text.tables import fields_text, table_text
from dnnbench.trial.protocols import position

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.report.typical import EpochFigure
    from dnnbench.text.screen import Screen
    from dnnbench.trial.spec import ProtocolName

_CHART_ROWS: Final = 19
_WIDEST_CHART: Final = 100
_MARKERS: Final = (
    ("●", "blue"),
    ("x", "yellow"),
    ("▲", "green"),
    ("◆", "magenta"),
    ("▼", "cyan"),
    ("+", "red"),
)
"""Sign and color of each protocol, in the order of the table of protocols; reused in turn."""
_REFERENCE: Final = "╌"


def render(analysis: Analysis, screen: Screen, *, nodes: int | None = None) -> str:
    """Return the full report, verdict first.

    Args:
        analysis: the figures to show.
        screen: the terminal or file to lay it out for.
        nodes: node count to draw; the smallest if not given.
    """
    first, *others = (table_text(table, screen) for table in report_tables(analysis))
    head = fields_text(facts(analysis), screen, analysis.warnings)
    tables = "".join([first, _chart(analysis, screen, nodes), *others])
    verdict = verdict_text(analysis, screen)
    return f"{verdict}\n{head}{tables}{_notes(analysis, screen)}"


def render_short(analysis: Analysis, screen: Screen, *, is_verdict_last: bool = False) -> str:
    """Return the short report: verdict, Table 2 and overhead.

    Args:
        analysis: the figures to show.
        screen: the terminal or file to lay it out for.
        is_verdict_last: whether the verdict is to be what remains on the screen.
    """
    verdict = verdict_text(analysis, screen)
    head = fields_text(summary(analysis), screen, analysis.warnings)
    tables = "".join(table_text(table, screen) for table in short_tables(analysis))
    notes = _notes(
        analysis,
        screen,
        *_excluded(analysis),
        "More tables and the figure: `dnnbench report --full`.",
    )
    if is_verdict_last:
        return f"{head}{tables}{notes}\n{verdict}"
    return f"{verdict}\n{head}{tables}{notes}"


def _excluded(analysis: Analysis) -> list[str]:
    """Return a note on the trials that no average has, with the cause of the first."""
    lost = [one for one in analysis.not_counted if not one.repeated]
    return [f"Excluded: {by_status(lost)} ({lost[0].id}: {lost[0].cause})."] if lost else []


def _notes(analysis: Analysis, screen: Screen, *more: str) -> str:
    return "\n" + screen.paragraph(*closing_notes(analysis), *more, dim=True)


def _chart(analysis: Analysis, screen: Screen, nodes: int | None) -> str:
    """Draw the counterpart of Figure 16: seconds per epoch of a typical trial by protocol."""
    figure = epoch_figure(analysis, nodes)
    title = "\n" + screen.paragraph(figure.title, bold=True)
    if not figure.trials:
        return title + screen.paragraph(f"No trial with {figure.nodes} nodes succeeded.")
    return "".join(
        [
            title,
            _drawing(figure, screen),
            screen.paragraph(*_legend(figure)),
            screen.paragraph(*w.figure_notes(analysis), dim=True),
        ]
    )


def _drawing(figure: EpochFigure, screen: Screen) -> str:
    epochs = max((trial.epochs for trial in figure.trials.values()), key=len)
    published = (
        Series(_REFERENCE, _marker(name)[1], level=mean_s)
        for name, mean_s in figure.published_s.items()
    )
    measured = (
        Series(*_marker(name), dict(zip(trial.epochs, trial.mean_s, strict=True)))
        for name, trial in figure.trials.items()
    )
    return chart_text(
        [*published, *measured],
        screen,
        size=(min(screen.width, _WIDEST_CHART), _CHART_ROWS),
        x_ticks=epochs,
        y_ticks=figure.ticks_s,
        x_label="epoch",
    )


def _marker(protocol: ProtocolName) -> tuple[str, str]:
    return _MARKERS[position(protocol) % len(_MARKERS)]


def _legend(figure: EpochFigure) -> list[str]:
    entries = [f"{_marker(name)[0]} {name} (trial {t.id})" for name, t in figure.trials.items()]
    lines = ["   ".join(entries)]
    if figure.published_s:
        means = ", ".join(f"{name} {mean_s:.2f} s" for name, mean_s in figure.published_s.items())
        lines.append(f"{_REFERENCE} published mean: {means}")
    return lines
