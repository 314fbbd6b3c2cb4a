"""What a result is laid out for: a terminal or a file."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import click


class Screen(NamedTuple):
    """What a text is laid out for.

    Attributes:
        width: in columns.
        is_styled: whether it shows bold and dim text; a file does not.
        is_coloured: whether it shows colours, too.
    """

    width: int
    is_styled: bool = False
    is_coloured: bool = False

    def styled(
        self, text: str, *, bold: bool | None = None, dim: bool | None = None, fg: str | None = None
    ) -> str:
        """Style a text as far as the screen can show it; ``fg`` is one of click's colours."""
        if not self.is_styled:
            return text
        return click.style(text, bold=bold, dim=dim, fg=fg if self.is_coloured else None)

    def paragraph(self, text: str, *, bold: bool | None = None, dim: bool | None = None) -> str:
        """Break a text into lines that fit, each of them styled and ended."""
        return "".join(
            f"{self.styled(line, bold=bold, dim=dim)}\n" for line in wrapped(text, self.width)
        )


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines: at its own breaks and between words, within words only as needed."""
    wrap = textwrap.TextWrapper(max(width, 1), break_on_hyphens=False).wrap  # names have hyphens
    lines = []
    for part in printable(text).split("\n"):
        lines += [part] if 0 < len(part) <= width else wrap(part)
    return lines


def printable(text: str) -> str:
    """Blank what could move the cursor or change colours: some texts come from hosts.

    Line breaks stay.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)
