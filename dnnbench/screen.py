"""Text laid out for a terminal or a file: lines that fit, columns that line up, styles.

Own code and not Rich, which draws what moves: ``report`` and ``cost`` have to answer at once, and
importing Rich's console and laying tables out with it took longer than all the rest of a report.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from unicodedata import combining, east_asian_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Style = Literal["bold", "dim", "yellow", "blue"]

CODES: Final[Mapping[Style, str]] = {"bold": "1", "dim": "2", "yellow": "33", "blue": "34"}
"""ECMA-48's "select graphic rendition"."""
UNCOLOURED: Final[Mapping[Style, str]] = {"bold": "1", "dim": "2"}
GAP: Final = "  "
"""Between two columns of a table."""
_WORD: Final = r"\s*\S+"
_FIRST_COMBINING: Final = "\u0300"


class Screen(NamedTuple):
    """What a text is laid out for.

    Attributes:
        width: in columns.
        codes: of the styles that it can show; none in a file.
    """

    width: int
    codes: Mapping[Style, str] = {}

    def styled(self, text: str, *styles: Style) -> str:
        """Wrap a text in the codes of its styles, as far as there are any."""
        codes = ";".join(self.codes[style] for style in styles if style in self.codes)
        return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text

    def paragraph(self, text: str, *styles: Style, indent: int = 0) -> list[str]:
        """Break a text into lines that fit beside ``indent`` other columns, and style each."""
        return [self.styled(line, *styles) for line in wrapped(text, self.width - indent)]


def wrapped(text: str, width: int) -> list[str]:
    """Break a text between words into lines of at most ``width`` columns; at least one line.

    Longer words are broken, too. What would move the cursor becomes a blank.
    """
    width = max(width, 1)
    return [part for line in text.split("\n") for part in _wrapped_line(_printable(line), width)]


def columns(text: str) -> int:
    """Return how many columns of a terminal a text of one line takes."""
    if text.isascii() or max(text) < _FIRST_COMBINING:
        return len(text)
    return sum(map(_columns, text))


def padded(text: str, width: int, is_right: bool = False) -> str:
    """Fill a text up to a width with blanks."""
    blanks = " " * (width - columns(text))
    return blanks + text if is_right else text + blanks


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Take from the widest columns, again and again, until all of them fit or have one left."""
    fitting = list(widths)
    for _ in range(sum(widths) - room):
        widest = max(fitting)
        if widest == 1:
            break
        fitting[fitting.index(widest)] -= 1
    return fitting


def row_lines(
    cells: Sequence[str],
    widths: Sequence[int],
    are_right: Sequence[bool],
    *,
    at_bottom: bool = False,
) -> list[str]:
    """Lay one row of a table out: each cell in its column, on as many lines as the longest needs.

    Args:
        cells: texts, which may have several lines.
        widths: of the columns; `GAP` stands between them.
        are_right: whether a column is flush right.
        at_bottom: whether short cells stand on the last line and not on the first.
    """
    wrapped_cells = [wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, wrapped_cells))
    for lines in wrapped_cells:
        blank = [""] * (height - len(lines))
        lines[:] = [*blank, *lines] if at_bottom else [*lines, *blank]
    return [
        GAP.join(map(padded, line, widths, are_right)).rstrip()
        for line in zip(*wrapped_cells, strict=True)
    ]


def _wrapped_line(line: str, width: int) -> Iterator[str]:
    if columns(line) <= width:
        yield line
        return
    start = ""
    for word in re.findall(_WORD, line):
        if columns(start + word) <= width:
            start += word
            continue
        if start:
            yield start
        *full, start = _pieces(word.lstrip() if start else word, width)
        yield from full
    yield start


def _pieces(word: str, width: int) -> list[str]:
    """Cut a word into pieces that fit, all but the last one as long as can be."""
    pieces = [""]
    for sign in word:
        if columns(pieces[-1] + sign) > width and pieces[-1]:
            pieces.append("")
        pieces[-1] += sign
    return pieces


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else " " for sign in line)


def _columns(sign: str) -> int:
    if combining(sign):
        return 0
    return 2 if east_asian_width(sign) in "WF" else 1
