"""Tables and fields of finished text, and their layout for a terminal and for Markdown.

Every command that shows figures builds these, so all formats show the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from dnnbench.text.safe import markdown, one_line
from dnnbench.text.screen import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dnnbench.text.screen import Screen

NONE = "-"
"""Shown where there is no figure."""

Fields = list[tuple[str, str]]
"""Pairs of a name and one line of text."""

_GAP = 2
"""Characters that tabulate leaves between two columns."""


class Column(msgspec.Struct, frozen=True):
    """A column heading; neighboring columns of one ``group`` share a heading above theirs."""

    name: str
    group: str = ""
    is_text: bool = False


class Table(msgspec.Struct, frozen=True):
    """A table of finished text; ``totals`` are separate rows at the bottom, the title may be ""."""

    title: str
    columns: list[Column]
    rows: list[list[str]]
    notes: list[str]
    totals: list[list[str]] = []


def table_text(table: Table, screen: Screen) -> str:
    """Lay a table out for a terminal: an empty line, its title, the table and its notes."""
    from tabulate import SEPARATING_LINE  # only for commands that print tables

    head = _headings(table.columns)
    body = [list(map(one_line, row)) for row in [*table.rows, *table.totals]]
    widths = _widths([*head, *body], [c.is_text for c in table.columns], screen.width)
    rows: list[list[str] | str] = [
        *(_folded(names, widths, partial(screen.styled, bold=True)) for names in head),
        SEPARATING_LINE,
        *(_folded(cells, widths) for cells in body),
    ]
    if table.totals:
        rows.insert(-len(table.totals), SEPARATING_LINE)
    # Not as tabulate's headers, which it makes two characters wider than their names.
    laid_out = _tabulate(rows, "simple", table.columns)
    notes = "".join(screen.paragraph(note, dim=True) for note in table.notes)
    return f"\n{screen.paragraph(table.title, bold=True)}{laid_out}\n{notes}"


def fields_text(facts: Fields, screen: Screen, warnings: Sequence[str] = ()) -> str:
    """Lay facts out for a terminal, with warnings below."""
    entries: list[tuple[str, str, str | None]]
    entries = [(one_line(name), one_line(line), None) for name, line in facts]
    entries += [("Warning", one_line(warning), "yellow") for warning in warnings]
    name_width = max((len(name) for name, _, _ in entries), default=0)
    widths = [name_width, screen.width - name_width - _GAP]
    rows = [
        [
            screen.styled(name, bold=True, fg=color),
            *_folded([line], widths[1:], partial(screen.styled, fg=color)),
        ]
        for name, line, color in entries
    ]
    return _tabulate(rows, "plain", [Column("", is_text=True)] * 2) + "\n"


def table_markdown(table: Table) -> str:
    """Write a table as a section of GitHub Markdown."""
    names = [(markdown(column.group), markdown(column.name)) for column in table.columns]
    headers = [f"{group}<br>{name}" if group else name for group, name in names]
    rows = [[markdown(text) for text in row] for row in [*table.rows, *table.totals]]
    body = _tabulate(rows, "pipe", table.columns, headers)
    notes = "\n".join(f"- {markdown(note)}" for note in table.notes)
    return "\n\n".join([f"## {markdown(table.title)}", body, *([notes] if notes else [])])


def fields_markdown(facts: Fields) -> str:
    """Write facts as a Markdown list."""
    return "\n".join(f"- **{markdown(name)}**: {markdown(line)}" for name, line in facts)


def _tabulate(
    rows: Sequence[Sequence[str]],
    layout: str,
    columns: Sequence[Column],
    headers: Sequence[str] = (),
) -> str:
    from tabulate import tabulate  # only for commands that print tables

    return tabulate(
        rows,
        headers=headers,
        tablefmt=layout,
        colalign=["left" if column.is_text else "right" for column in columns],
        disable_numparse=True,  # all cells are text; tabulate would reformat numbers
    )


def _headings(columns: Sequence[Column]) -> list[list[str]]:
    """Return one or two rows; the name of a group is above its first column only."""
    names = [one_line(column.name) for column in columns]
    groups = [one_line(column.group) for column in columns]
    if not any(groups):
        return [names]
    befores = ["", *groups]
    return [["" if g == b else g for g, b in zip(groups, befores, strict=False)], names]


def _folded(
    cells: Sequence[str], widths: Sequence[int], style: Callable[[str], str] = str
) -> list[str]:
    """Wrap cells and style each of their lines.

    tabulate's own wrapping treats some cells as numbers, even with ``disable_numparse``.
    """
    folded = map(wrapped, cells, widths)
    return ["\n".join(map(style, lines)) for lines in folded]


def _widths(rows: Sequence[Sequence[str]], are_text: Sequence[bool], room: int) -> list[int]:
    """Return the widths of the columns, reduced to fit the room if necessary.

    The widest columns shrink first. Words are broken only if breaking between words is not enough,
    and figures last of all.
    """
    columns = list(zip(*rows, strict=True))
    longest = [max(map(len, cells)) for cells in columns]
    words = [max(len(word) for cell in cells for word in cell.split() or [""]) for cells in columns]
    figures = [1 if is_text else word for is_text, word in zip(are_text, words, strict=True)]
    room -= _GAP * (len(columns) - 1)
    if sum(longest) <= room:
        return longest
    for least in (words, figures, [1] * len(columns)):
        for most in range(max(longest), 0, -1):
            widths = [max(min(line, most), low) for line, low in zip(longest, least, strict=True)]
            if sum(widths) <= room:
                return widths
    return [1] * len(columns)
