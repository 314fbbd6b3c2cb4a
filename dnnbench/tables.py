"""Tables and facts as values of finished text, and their look in a terminal and as Markdown.

Every command that shows figures builds these, so that all look alike and say the same everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.screen import GAP, columns, fitted, padded, row_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.screen import Screen, Style

NONE = "-"
"""What stands for a figure that nobody has."""

Facts = list[tuple[str, str]]
"""Names, each with a line."""


class Column(msgspec.Struct, frozen=True):
    """A column's heading; ``group`` is what neighbouring columns have in common."""

    name: str
    group: str = ""
    is_text: bool = False


class Table(msgspec.Struct, frozen=True):
    """A table of finished text; ``totals`` are rows set apart at the bottom, no title is ""."""

    title: str
    columns: list[Column]
    rows: list[list[str]]
    notes: list[str]
    totals: list[list[str]] = []


def table_text(table: Table, screen: Screen) -> str:
    """Lay a table out for a terminal: an empty line, its title, the table and its notes."""
    head, body = _headings(table.columns), [*table.rows, *table.totals]
    gaps = len(GAP) * (len(head) - 1)
    needed = [
        max(columns(line) for cell in cells for line in cell.split("\n"))
        for cells in zip(head, *body, strict=True)
    ]
    widths = fitted(needed, screen.width - gaps)
    are_right = [not column.is_text for column in table.columns]
    are_grouped = any(column.group for column in table.columns)
    lines = [""]
    if table.title:
        lines += screen.paragraph(table.title, "bold")
    lines += [
        screen.styled(line, "bold") for line in row_lines(head, widths, are_right, at_bottom=True)
    ]
    lines.append("─" * (sum(widths) + gaps))
    for row in table.rows:
        lines += row_lines(row, widths, are_right, at_bottom=are_grouped)
    if table.totals:
        lines.append("")
    for row in table.totals:
        lines += row_lines(row, widths, are_right, at_bottom=are_grouped)
    for note in table.notes:
        lines += screen.paragraph(note, "dim")
    return "\n".join(lines) + "\n"


def facts_text(facts: Facts, screen: Screen, warnings: Sequence[str] = ()) -> str:
    """Lay facts out for a terminal, with warnings beneath."""
    entries: list[tuple[str, str, tuple[Style, ...]]]
    entries = [(name, line, ()) for name, line in facts]
    entries += [("Warning", warning, ("yellow",)) for warning in warnings]
    width = max((columns(name) for name, _, _ in entries), default=0)
    lines = []
    for name, text, styles in entries:
        first, *others = screen.paragraph(text, *styles, indent=width + len(GAP))
        lines.append(screen.styled(padded(name, width), "bold", *styles) + GAP + first)
        lines += [" " * width + GAP + line for line in others]
    return "\n".join(lines) + "\n"


def table_markdown(table: Table) -> str:
    """Write a table as a section of GitHub Markdown."""
    from tabulate import tabulate  # the other formats answer without it

    headers = [f"{c.group}<br>{c.name}" if c.group else c.name for c in table.columns]
    # tabulate formats numbers anew and eats spaces unless told that all is text already.
    body = tabulate(
        [[escape(text) for text in row] for row in [*table.rows, *table.totals]],
        headers=headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if column.is_text else "right" for column in table.columns],
    )
    notes = "\n".join(f"- {escape(note)}" for note in table.notes)
    return "\n\n".join([f"## {escape(table.title)}", body, *([notes] if notes else [])])


def facts_markdown(facts: Facts) -> str:
    """Write facts as a Markdown list."""
    return "\n".join(f"- **{name}**: {escape(line)}" for name, line in facts)


def escape(text: str) -> str:
    """Keep text from others from being read as Markdown or HTML."""
    for sign, written in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "\\`"), ("*", "\\*")):
        text = text.replace(sign, written)
    return " ".join(text.split("\n"))


def _headings(columns: Sequence[Column]) -> list[str]:
    """Return a line or two a column: a group's name stands over its first column only."""
    if not any(column.group for column in columns):
        return [column.name for column in columns]
    groups = [column.group for column in columns]
    return [
        f"{column.group if column.group != before else ''}\n{column.name}"
        for column, before in zip(columns, ["", *groups], strict=False)
    ]
