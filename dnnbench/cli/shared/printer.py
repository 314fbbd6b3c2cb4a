"""The one place that prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Final

from dnnbench.cli.shared.cures import completed
from dnnbench.text.safe import one_line, visible
from dnnbench.text.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

FILE_WIDTH: Final = 100
"""Columns of what is laid out for a file or a pipe, which have no width of their own."""
_TERMINAL_WIDTH: Final = 80
"""Columns of a terminal that does not tell."""
_PLAIN_TERMINALS: Final = ("dumb", "unknown")


class OutputClosedError(Exception):
    """Whoever read standard output has gone, as ``head`` does; there is nobody to tell."""


class Printer:
    """Prints for one command.

    Attributes:
        quiet: nothing but results and errors.
        debug: errors come with their traceback.
        finding_options: of this command, for commands that its messages name; see `cures`.
    """

    def __init__(self) -> None:
        self.quiet = False
        self.debug = False
        self.finding_options = ""

    def screen(self, output: Path | None = None) -> Screen:
        """Return what a result has to be laid out for: standard output, or a file."""
        is_terminal = sys.stdout.isatty()
        if output is not None or not (is_terminal or "COLUMNS" in os.environ):
            return Screen(FILE_WIDTH)
        if not is_terminal or os.environ.get("TERM", "dumb") in _PLAIN_TERMINALS:
            return Screen(_terminal_width())
        is_coloured = not os.environ.get("NO_COLOR")
        return Screen(_terminal_width(), is_styled=True, is_coloured=is_coloured)

    def result(self, text: str) -> None:
        """Print a result as it is: who lays it out has made safe what came from outside.

        Raises:
            OutputClosedError: nobody reads standard output any more.
        """
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is left in the buffer would be written, and fail again, at the very end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise OutputClosedError from None

    def note(self, line: str) -> None:
        """Print a line that is not a result; its text may come from anywhere."""
        if not self.quiet:
            _to_stderr(f"{self.completed(one_line(line))}\n")

    def error(self, line: str) -> None:
        """Print why the command failed; the text may come from anywhere."""
        _to_stderr(f"dnnbench: {self.completed(one_line(line))}\n")

    def completed(self, text: str) -> str:
        """Complete the commands in a message."""
        return completed(text, self.finding_options)

    def traceback(self) -> None:
        """Print the traceback of the exception being handled, if the user asked for it."""
        if self.debug:
            import traceback  # only where something failed

            lines = traceback.format_exc().splitlines()
            _to_stderr("".join(f"{visible(line)}\n" for line in lines))

    @cached_property
    def err(self) -> Console:
        """Standard error, for what moves: progress bars and live views."""
        from rich.console import Console  # quiet and plain commands do without

        return Console(stderr=True, highlight=False)

    @property
    def is_live(self) -> bool:
        """Whether what moves can be shown: on a terminal that can move its cursor."""
        return not self.quiet and sys.stderr.isatty() and not self.err.is_dumb_terminal


def _terminal_width() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _TERMINAL_WIDTH
    except OSError:
        return _TERMINAL_WIDTH


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # the terminal is gone; the exit code still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
