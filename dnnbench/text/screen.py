"""Width and styles of the terminal or file that a result is laid out for."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import click

from dnnbench.text.safe import one_line


class Screen(NamedTuple):
    """A terminal or a file that text is laid out for.

    Attributes:
        width: in columns.
        is_styled: whether it shows bold and dim text; a file does not.
        is_colored: whether it also shows colors.
    """

    width: int
    is_styled: bool = False
    is_colored: bool = False

    def styled(
        self, text: str, *, bold: bool | None = None, dim: bool | None = None, fg: str | None = None
    ) -> str:
        """Style a text as far as the screen can show it; ``fg`` is one of click's colors."""
        if not self.is_styled:
            return text
        return click.style(text, bold=bold, dim=dim, fg=fg if self.is_colored else None)

    def paragraph(self, *texts: str, bold: bool | None = None, dim: bool | None = None) -> str:
        """Wrap texts, which need not be safe, and style every line; each ends with a newline."""
        return "".join(
            f"{self.styled(line, bold=bold, dim=dim)}\n"
            for text in texts
            for line in wrapped(one_line(text), self.width)
        )


def wrapped(line: str, width: int) -> list[str]:
    """Wrap a line between words, and within a word only if it is too long."""
    if 0 < len(line) <= width:
        return [line]
    return textwrap.wrap(line, max(width, 1), break_on_hyphens=False)  # names have hyphens
