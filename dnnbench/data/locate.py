"""Find a data set; else explain in one line why there is none, or what is used instead."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dnnbench.data import catalogue, idx
from dnnbench.errors import DataError
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from dnnbench.data.download import Progress


class Located(NamedTuple):
    """A data set to train on.

    Attributes:
        order: what a host needs to load it.
        note: why generated data are used instead; None if this is the set looked for. To be stored
            and shown with every result.
        details: the places looked at and what each said; empty where ``note`` is None. To be shown
            once: it says something about this machine and moment, and nothing about results.
    """

    order: DataSpec
    note: str | None = None
    details: str = ""


def locate(
    name: str,
    data_dir: Path | None = None,
    *,
    explicit: bool = False,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Located:
    """Look for a data set in ``data_dir``, the user's cache, Debian's place, then at the mirrors.

    Every file is verified. Without a network the answer comes within seconds.

    Args:
        name: one of :data:`dnnbench.data.catalogue.NAMES`.
        data_dir: the user's directory; a damaged or missing file in it is an error. Where it holds
            none of the files, the search goes on.
        explicit: the user asked for this set, so nothing may stand in for it. Naming a ``data_dir``
            is such a wish, too.
        cache_dir: with a directory for every set; None for the user's cache directory.
        progress: is told of a download, see :data:`dnnbench.data.download.Progress`.

    Raises:
        DataError: unknown, damaged, or asked for and not to be had.
    """
    if name == catalogue.SYNTHETIC:
        return Located(_synthetic())
    wanted = catalogue.file_set(name)
    cache = (cache_dir or _user_cache_dir()) / name
    places = [
        partial(_in_cache, wanted, cache),
        partial(_in_system, wanted),
        partial(_from_mirrors, wanted, cache, progress),
    ]
    if data_dir is not None:
        places.insert(0, partial(_in_data_dir, wanted, data_dir))

    reasons: list[str] = []
    for look in places:
        found = look()
        if isinstance(found, Path):
            return Located(DataSpec(name, str(found.resolve()), wanted.digest))
        reasons.append(found)
    details = "; ".join(reasons)
    if explicit or data_dir is not None:
        raise DataError(
            f"{name} is not to be had: {details}",
            remedy=f"give --data-dir with its four IDX files, or use {catalogue.SYNTHETIC}",
        )
    note = (
        f"{name} was not found and could not be downloaded; using generated data "
        f"({catalogue.SYNTHETIC}) instead"
    )
    return Located(_synthetic(), note, details)


# A place returns the directory with the four verified files, or the reason why not.


def _in_data_dir(wanted: catalogue.FileSet, data_dir: Path) -> Path | str:
    if not data_dir.is_dir():
        raise DataError("no such directory", where=str(data_dir), remedy="check --data-dir")
    return _verified(wanted, data_dir)


def _in_cache(wanted: catalogue.FileSet, cache: Path) -> Path | str:
    """Remove what is damaged in our own cache, so that it is downloaded again."""
    sound = [file for file in wanted.files if _kept(file, cache)]
    return cache if len(sound) == len(wanted.files) else f"not in {_short(cache)}"


def _kept(file: catalogue.IdxFile, cache: Path) -> bool:
    path = idx.path_of(file, cache)
    if path is None:
        return False
    try:
        idx.read(path, file)
    except DataError:
        with suppress(OSError):  # where it cannot be removed, the download will say so
            path.unlink()
        return False
    return True


def _in_system(wanted: catalogue.FileSet) -> Path | str:
    try:
        return _verified(wanted, wanted.system_directory)
    except DataError as error:
        return str(error)


def _from_mirrors(wanted: catalogue.FileSet, cache: Path, progress: Progress | None) -> Path | str:
    from dnnbench.data.download import download

    try:
        download(wanted, cache, progress)
    except DataError as error:
        return f"{_short(cache)} {error.problem}" if error.where else error.problem
    return _verified(wanted, cache)


def _verified(wanted: catalogue.FileSet, directory: Path) -> Path | str:
    home = idx.home(directory, wanted)
    if home is None:
        return f"not in {_short(directory)}"
    idx.read_all(wanted, home)
    return home


def _synthetic() -> DataSpec:
    return DataSpec(catalogue.SYNTHETIC, None, catalogue.SYNTHETIC_DIGEST)


def _short(path: Path) -> str:
    """Write a path as a shell takes it, without the name of the user's home directory."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # not in there; there is none
        return str(path)


def _user_cache_dir() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("dnnbench")
