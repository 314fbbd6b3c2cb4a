"""Tables and facts as values of finished text, and their look in a terminal and as Markdown.

Every command that shows figures builds these, so that all look alike and say the same everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

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
    """A table of finished text; ``totals`` are rows set apart at the bottom."""

    title: str
    columns: list[Column]
    rows: list[list[str]]
    notes: list[str]
    totals: list[list[str]] = []


def table_view(table: Table) -> RenderableType:
    """Lay a table out for the terminal; it starts with an empty line."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    view = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    grouped = any(column.group for column in table.columns)
    group = ""
    for column in table.columns:
        # A group's name stands over its first column only.
        over = column.group if column.group != group else ""
        group = column.group
        view.add_column(
            Text(f"{over}\n{column.name}" if grouped else column.name),
            justify="left" if column.is_text else "right",
            vertical="bottom" if grouped else "top",
            overflow="fold",
        )
    for row in table.rows:
        view.add_row(*map(Text, row))
    if table.totals:
        view.add_section()
    for row in table.totals:
        view.add_row(*map(Text, row))
    title = Text(f"\n{table.title}", style="bold")  # of its own: a narrow table would fold it
    return Group(title, view, *(Text(note, style="dim") for note in table.notes))


def facts_view(facts: Facts, warnings: Sequence[str] = ()) -> RenderableType:
    """Lay facts out for the terminal, with warnings beneath."""
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, line in facts:
        grid.add_row(name, Text(line))
    for warning in warnings:
        grid.add_row(Text("Warning", style="bold yellow"), Text(warning, style="yellow"))
    return grid


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
