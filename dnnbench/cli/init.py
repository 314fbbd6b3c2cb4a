"""``dnnbench init``: write the commented settings file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from dnnbench.cli.shared.options import common_options
from dnnbench.errors import ConfigError
from dnnbench.settings.documents import template
from dnnbench.settings.load import DEFAULT_PATH
from dnnbench.sweep.documents import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.cli.shared.printer import Printer


@click.command("init")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@common_options("The file to write.  [default: dnnbench.toml]")
@click.pass_obj
def command(printer: Printer, *, config_path: Path | None, force: bool) -> None:
    """Write a commented dnnbench.toml.

    It changes nothing until you edit it: every setting is commented out and shows its default.
    """
    path = config_path or DEFAULT_PATH
    if os.path.lexists(path) and not force:
        raise ConfigError("already exists", where=str(path), remedy="replace it with --force")
    write_whole(path, template().encode())
    printer.note(f"wrote {path}; edit it, then run `dnnbench run`")
