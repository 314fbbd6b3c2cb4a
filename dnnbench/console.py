"""The one place that prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

FILE_WIDTH: Final = 100
"""Columns of what is laid out for a file or a pipe, which have no width of their own."""


class OutputClosedError(Exception):
    """Whoever read standard output has gone, as ``head`` does; there is nobody to tell."""


class Printer:
    """Prints for one command.

    Attributes:
        quiet: nothing but results and errors.
        debug: errors come with their traceback.
    """

    def __init__(self) -> None:
        self.quiet = False
        self.debug = False

    def result(self, content: RenderableType) -> None:
        """Print a result; text as it is, without colours or line breaks of our own.

        Raises:
            OutputClosedError: nobody reads standard output any more.
        """
        text = content if isinstance(content, str) else self._laid_out(content)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is left in the buffer would be written, and fail again, at the very end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise OutputClosedError from None

    def note(self, line: str) -> None:
        """Tell the user something that is no result."""
        if not self.quiet:
            _to_stderr(f"{line}\n")

    def error(self, line: str) -> None:
        """Print why the command failed."""
        _to_stderr(f"dnnbench: {line}\n")

    def traceback(self) -> None:
        """Print the traceback of the exception being handled, if the user asked for it."""
        if self.debug:
            import traceback  # only where something failed

            _to_stderr(traceback.format_exc())

    @cached_property
    def err(self) -> Console:
        """Standard error, for what moves: progress bars and live views."""
        from rich.console import Console  # quiet and plain commands do without

        return Console(stderr=True, highlight=False)

    @property
    def is_live(self) -> bool:
        """Whether what moves can be shown: on a terminal that can move its cursor."""
        return not self.quiet and sys.stderr.isatty() and not self.err.is_dumb_terminal

    def as_text(self, content: RenderableType) -> str:
        """Lay a renderable out for a file: no colours, a fixed width."""
        from rich.console import Console  # as above

        console = Console(
            width=FILE_WIDTH, color_system=None, force_terminal=False, highlight=False
        )
        return _rendered(console, content)

    def _laid_out(self, content: RenderableType) -> str:
        from rich.console import Console  # as above

        if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
            return self.as_text(content)
        return _rendered(Console(highlight=False), content)


def _rendered(console: Console, content: RenderableType) -> str:
    with console.capture() as capture:
        console.print(content)
    # Rich fills the lines of a table; nobody wants the blanks in a file or on the clipboard.
    return "\n".join(line.rstrip() for line in capture.get().split("\n"))


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # the terminal is gone; the exit code still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
