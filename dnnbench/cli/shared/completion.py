"""Completion of values in a shell: sweeps, protocols, models, data sets, price books.

A completion never fails and prints nothing of its own: where settings or results cannot be read,
there is nothing to offer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from dnnbench.errors import DnnbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dnnbench.settings.setting import Field

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
    Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def sweep_argument(name: str = "sweep", *, required: bool = False) -> Decorator:
    """Add the argument that names a stored sweep, completed from the results directory."""
    return click.argument(name, required=required, shell_complete=_sweeps)


def completer(field: Field) -> Completer | None:
    """Return what completes the option of a setting; None if its values cannot be listed."""
    values = _VALUES.get(field.key)
    if field.choices:
        return _of(lambda: field.choices)
    return _of(values) if values else None


def _of(values: Callable[[], Iterable[str]]) -> Completer:
    """Complete the last value of a list with commas, or the only value."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        try:
            return [f"{before}{comma}{v}" for v in values() if v.startswith(last)]
        except DnnbenchError:
            return []

    return complete


def _sweeps(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    from pathlib import Path

    from dnnbench.settings.load import load
    from dnnbench.sweep.results import sweep_names

    given = {"sweep.results_dir": ctx.params.get("sweep__results_dir")}
    try:
        config = load(ctx.params.get("config_path"), os.environ, given).config
        names = sweep_names(Path(config.sweep.results_dir))
    except (DnnbenchError, OSError):
        return []
    return [name for name in reversed(names) if name.startswith(incomplete)]


def _protocols() -> Iterable[str]:
    from dnnbench.trial.protocols import PROTOCOLS

    return PROTOCOLS


def _models() -> Iterable[str]:
    from dnnbench.trial.models import MODELS

    return MODELS


def _datasets() -> Iterable[str]:
    from dnnbench.data import catalog

    return catalog.NAMES


def _books() -> Iterable[str]:
    from dnnbench.cost.library import list_books

    return list_books()


def _machines() -> Iterable[str]:
    from dnnbench.cost.library import list_books, load_book

    return sorted({m for name in list_books() for m in load_book(name).machine})


_VALUES: Final[dict[str, Callable[[], Iterable[str]]]] = {
    "sweep.protocols": _protocols,
    "train.model": _models,
    "train.dataset": _datasets,
    "cost.price_book": _books,
    "cost.machine": _machines,
}
"""Settings whose values are names in a table: key -> those names."""
