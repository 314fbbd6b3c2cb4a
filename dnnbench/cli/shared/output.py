"""Options and delivery of a command's result: its format, and a file or standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dnnbench.cli.shared.options import named_file
from dnnbench.sweep.documents import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dnnbench.cli.shared.printer import Printer

_SUFFIXES: Final = {"terminal": ("", ".txt"), "markdown": (".md", ".markdown")}
"""Format -> suffixes of an output file that choose it; those of any other format are its name."""
_STANDARD_OUTPUT: Final = Path("-")


def output_options(
    formats: Iterable[str], help_of_output: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--format``, which the command receives as ``layout``, and ``--output``."""
    names = list(formats)
    chosen_by = {suffix: name for name in names for suffix in _SUFFIXES.get(name, (f".{name}",))}

    def layout(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str:
        output: Path | None = ctx.params.get("output")
        found = value or chosen_by.get(output.suffix if output else "")
        if found:
            return found
        known = [suffix for suffix in chosen_by if suffix]
        raise click.BadParameter(
            f"expected a file name that ends with {', '.join(known)}, or a --format, "
            f"got {str(output)!r}",
            param_hint="--output",
        )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
            metavar="FILE",
            help=f"{help_of_output} - is standard output.",
            callback=named_file,
            is_eager=True,  # the default of --format depends on it
        )(command)
        return click.option(
            "--format",
            "layout",
            type=click.Choice(names),
            help="Output format.  [default: from the suffix of -o, else terminal]",
            callback=layout,
        )(command)

    return decorate


def is_standard_output(output: Path) -> bool:
    """Return whether a result is to be written to standard output."""
    return output == _STANDARD_OUTPUT


def deliver(printer: Printer, text: str, output: Path | None) -> None:
    """Print a result, or write it to a file, whole or not at all."""
    if output is None or is_standard_output(output):
        printer.result(text)
        return
    write_whole(output, text.encode())
    printer.note(f"wrote {output}")
