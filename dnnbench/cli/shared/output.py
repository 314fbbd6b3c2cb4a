"""Options and delivery of a command's result: its format, and a file or standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dnnbench.sweep.documents import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dnnbench.cli.shared.printer import Printer

_SUFFIXES: Final = {".md": "markdown", ".markdown": "markdown", ".csv": "csv", ".json": "json"}


def output_options(
    layouts: Sequence[str], help_of_output: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--format``, passed to the command as ``layout``, and ``--output``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help=help_of_output,
            callback=named_file,
        )(command)
        return click.option(
            "--format",
            "layout",
            type=click.Choice(layouts),
            help="Output format.  [default: by the suffix of -o, else terminal]",
            callback=_layout,
        )(command)

    return decorate


def deliver(printer: Printer, text: str, output: Path | None) -> None:
    """Print a result, or write it to a file, whole or not at all."""
    if output is None:
        printer.result(text)
        return
    write_whole(output, text.encode())
    printer.note(f"wrote {output}")


def named_file(_ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse an output path without a file name, such as one from an empty shell variable."""
    if path is not None and not path.name:
        raise click.BadParameter("expected the name of a file")
    return path


def _layout(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str:
    output: Path | None = ctx.params.get("output")
    return value or _SUFFIXES.get(output.suffix if output else "", "terminal")
