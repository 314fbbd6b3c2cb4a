"""The data set of a command's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dnnbench.cli.views.download import download_view
from dnnbench.data import catalog
from dnnbench.data.locate import Located, locate, without_download
from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.textfile import local_path

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.schema import Resolved
    from dnnbench.trial.spec import DataSpec


def check_dataset(resolved: Resolved) -> str:
    """Return the data set's name.

    Raises:
        ConfigError: there is no such data set.
    """
    train, origins = resolved.config.train, resolved.origins
    if not catalog.is_known(train.dataset):
        raise ConfigError(
            f"expected {catalog.EXPECTED}, got {train.dataset!r}",
            where=origins["train.dataset"],
            remedy=nearest(train.dataset, catalog.NAMES),
        )
    if train.dataset.startswith(catalog.DIRECTORY):
        path = train.dataset.removeprefix(catalog.DIRECTORY)
        if not path:
            raise ConfigError("expected directory:PATH", where=origins["train.dataset"])
        local_path(path, origins["train.dataset"])
    return train.dataset


def note_ignored(resolved: Resolved, printer: Printer) -> None:
    """Print a note if a directory is given that the data set does not need."""
    train, origins = resolved.config.train, resolved.origins
    if train.data_dir and train.dataset not in catalog.FILE_SETS:
        kind = "is generated" if train.dataset in catalog.GENERATED else "names its own"
        printer.note(f"note: {origins['train.data_dir']}: ignored, {train.dataset} {kind}")


def planned_data(resolved: Resolved) -> DataSpec:
    """Return the data set for a plan, without looking for it, which could mean a download.

    Raises:
        ConfigError: there is no such data set.
        DataError: the user's own arrays are not as expected.
    """
    name = check_dataset(resolved)
    return _noisy(without_download(name), resolved).order


def find_data(resolved: Resolved, printer: Printer) -> Located:
    """Find the data set on this machine or download it; note if generated data replace it.

    Raises:
        ConfigError: there is no such data set.
        DataError: it was asked for by name, and can be neither found nor downloaded.
    """
    check_dataset(resolved)
    note_ignored(resolved, printer)
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
    return _noisy(located, resolved)


def _noisy(located: Located, resolved: Resolved) -> Located:
    share = resolved.config.train.label_noise
    return located._replace(order=msgspec.structs.replace(located.order, label_noise=share))
