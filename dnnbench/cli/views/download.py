"""Progress of a download."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.data.download import Progress as DownloadProgress
from dnnbench.cli.views.live import REFRESHES_PER_S


@contextmanager
def download_view(printer: Printer) -> Iterator[DownloadProgress]:
    """Show a download once it begins: a bar on a terminal, one line per file elsewhere."""
    if not printer.is_live:
        names: set[str] = set()

        def line(name: str, _done_bytes: int, total_bytes: int) -> None:
            if name not in names:
                names.add(name)
                printer.note(f"downloading {name} (the data set is {total_bytes / 1e6:.1f} MB)")

        yield line
        return
    from rich.progress import (  # only on a terminal
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=printer.err,
        refresh_per_second=REFRESHES_PER_S,
        transient=True,
    ) as progress:

        def bar(name: str, done_bytes: int, total_bytes: int) -> None:
            task = progress.task_ids[0] if progress.task_ids else progress.add_task(name)
            text = f"downloading {name}"
            progress.update(task, description=text, completed=done_bytes, total=total_bytes)

        yield bar
