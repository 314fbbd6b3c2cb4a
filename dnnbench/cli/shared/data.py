"""The data set of a command's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dnnbench.cli.views.download import download_view
from dnnbench.data.locate import Located, locate

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer
    from dnnbench.settings.schema import Resolved


def find_data(resolved: Resolved, printer: Printer) -> Located:
    """Find the data set on this machine or download it; tell what stands in for it.

    Raises:
        DataError: it was asked for by name, and is not to be had.
    """
    train = resolved.config.train
    with download_view(printer) as progress:
        located = locate(
            train.dataset,
            Path(train.data_dir).expanduser() if train.data_dir else None,
            explicit=resolved.origins["train.dataset"] != "default",
            progress=progress,
        )
    if located.note:
        printer.note(f"note: {located.order.name} {located.note} ({located.details})")
    return located
