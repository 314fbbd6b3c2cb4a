"""The data set of a command's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dnnbench.cli.views.download import download_view
from dnnbench.data import catalogue
from dnnbench.data.locate import Located, locate
from dnnbench.errors import ConfigError, nearest

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.schema import Resolved


def check_dataset(resolved: Resolved, printer: Printer) -> str:
    """Return the data set's name; print a note if a directory is given that it does not need.

    Raises:
        ConfigError: there is no such data set.
    """
    train, origins = resolved.config.train, resolved.origins
    if train.dataset not in catalogue.NAMES:
        raise ConfigError(
            f"expected one of {', '.join(catalogue.NAMES)}, got {train.dataset!r}",
            where=origins["train.dataset"],
            remedy=nearest(train.dataset, catalogue.NAMES),
        )
    if train.data_dir and train.dataset == catalogue.SYNTHETIC:
        printer.note(f"note: {origins['train.data_dir']}: ignored, {train.dataset} is generated")
    return train.dataset


def find_data(resolved: Resolved, printer: Printer) -> Located:
    """Find the data set on this machine or download it; note if generated data replace it.

    Raises:
        ConfigError: there is no such data set.
        DataError: it was asked for by name, and can be neither found nor downloaded.
    """
    check_dataset(resolved, printer)
    train = resolved.config.train
    with download_view(printer) as progress:
        located = locate(
            train.dataset,
            Path(train.data_dir).expanduser() if train.data_dir else None,
            explicit=resolved.origins["train.dataset"] != "default",
            progress=progress,
        )
    if located.note:
        printer.note(f"note: {located.note} ({located.details})")
    return located
