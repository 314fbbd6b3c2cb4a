"""The one place that prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Final

from dnnbench.cli.shared.cures import completed
from dnnbench.cli.shared.streams import discard
from dnnbench.errors import ResultsError
from dnnbench.text.safe import one_line, visible
from dnnbench.text.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

FILE_WIDTH: Final = 100
"""Width in columns for files and pipes, which have none of their own."""
_TERMINAL_WIDTH: Final = 80
"""Width in columns of a terminal that does not report it."""
_PLAIN_TERMINALS: Final = ("dumb", "unknown")


class OutputClosedError(Exception):
    """The reader of standard output has closed it, as ``head`` does; no message is needed."""


class Printer:
    """The output of one command.

    Attributes:
        quiet: print results and errors only.
        debug: print errors with their traceback.
    """

    def __init__(self) -> None:
        self.quiet = False
        self.debug = False
        self._finding_options = ""

    def screen(self, output: Path | None = None) -> Screen:
        """Return the screen to lay a result out for: standard output or a file."""
        is_terminal = sys.stdout.isatty()
        if output is not None or not (is_terminal or "COLUMNS" in os.environ):
            return Screen(FILE_WIDTH)
        if not is_terminal or os.environ.get("TERM", "dumb") in _PLAIN_TERMINALS:
            return Screen(_terminal_width())
        is_colored = not os.environ.get("NO_COLOR")
        return Screen(_terminal_width(), is_styled=True, is_colored=is_colored)

    def result(self, text: str) -> None:
        """Print a result unchanged: its layout has already made text from outside safe.

        Raises:
            OutputClosedError: its reader has closed standard output.
            ResultsError: standard output cannot be written, as on a full disk.
        """
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            discard(sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise OutputClosedError from None
            raise ResultsError(
                f"cannot be written: {error.strerror}",
                where="standard output",
                remedy="the stored results are not affected",
            ) from None

    def note(self, line: str) -> None:
        """Print a line that is not a result; the text need not be safe."""
        if not self.quiet:
            _to_stderr(f"{self.completed(one_line(line))}\n")

    def error(self, line: str) -> None:
        """Print why the command failed; the text need not be safe."""
        _to_stderr(f"dnnbench: {self.completed(one_line(line))}\n")

    def find_hosts_with(self, options: str) -> None:
        """Complete the commands in later messages with these options; see `cures`."""
        self._finding_options = options

    def completed(self, text: str) -> str:
        """Add this command's options for finding hosts to the commands in a message."""
        return completed(text, self._finding_options)

    def traceback(self) -> None:
        """Print the traceback of the exception being handled, if the user asked for it."""
        if self.debug:
            import traceback  # only for errors

            lines = traceback.format_exc().splitlines()
            _to_stderr("".join(f"{visible(line)}\n" for line in lines))

    @cached_property
    def err(self) -> Console:
        """Standard error, for progress bars and live views."""
        from rich.console import Console  # not needed by quiet and plain commands

        return Console(stderr=True, highlight=False)

    @property
    def is_live(self) -> bool:
        """Whether live views can be shown: on a terminal that can move its cursor."""
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
    except OSError:  # the terminal is gone; the exit code remains
        discard(sys.stderr.fileno())
