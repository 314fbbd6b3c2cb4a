"""Find a data set; else explain in one line why there is none, or what is used instead."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dnnbench.data import catalog, files
from dnnbench.errors import DataError
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from dnnbench.data.download import Progress
    from dnnbench.data.sets import ExampleShape, FileSet, GeneratedSet, PublishedFile


class Located(NamedTuple):
    """A data set to train on.

    Attributes:
        order: what a host needs to load it.
        examples: the shape of its examples.
        note: why generated data are used instead; None if this is the set looked for. To be stored
            and shown with every result.
        details: the places looked at, with what was found; empty where ``note`` is None. To be
            shown once: it describes this machine and moment, not the results.
    """

    order: DataSpec
    examples: ExampleShape
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
        name: one of :data:`dnnbench.data.catalog.NAMES`, or ``directory:PATH``.
        data_dir: the user's directory; a damaged or missing file in it is an error. Where it holds
            none of the files, the search goes on.
        explicit: the user asked for this set, so nothing may replace it. Naming a ``data_dir``
            is such a wish, too.
        cache_dir: with a directory for every set; None for the user's cache directory.
        progress: is called during a download, see :data:`dnnbench.data.download.Progress`.

    Raises:
        DataError: unknown, damaged, or asked for and not to be had.
    """
    if name in catalog.GENERATED or name.startswith(catalog.DIRECTORY):
        return without_download(name)
    wanted = catalog.file_set(name)
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
            return Located(_spec(wanted, found.resolve()), wanted.examples)
        reasons.append(found)
    details = "; ".join(reasons)
    if explicit or data_dir is not None:
        raise DataError(
            f"{name} is not to be had: {details}",
            remedy=f"give --data-dir with its {len(wanted.files)} files, or use {wanted.stand_in}",
        )
    generated = catalog.GENERATED[wanted.stand_in]
    note = (
        f"{name} was not found and could not be downloaded; using generated data "
        f"({generated.name}) instead"
    )
    return Located(_spec(generated), generated.examples, note, details)


def without_download(name: str) -> Located:
    """Return a data set without looking for its files, which a plan does not need.

    A user's own arrays are read: their size and digest are in the plan.

    Raises:
        DataError: unknown, or the arrays are not as expected.
    """
    if name.startswith(catalog.DIRECTORY):
        from dnnbench.data import arrays  # NumPy takes a while to import

        directory = Path(name.removeprefix(catalog.DIRECTORY)).expanduser()
        try:
            directory = directory.resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise DataError(f"cannot be read: {error}", where=str(directory)) from None
        own = arrays.read(directory)
        # Only the last part: results do not reveal where the data are.
        title = f"{catalog.DIRECTORY}{directory.name}"
        spec = DataSpec(title, str(directory), own.digest, train_examples=len(own.parts[0]))
        return Located(spec, own.examples)
    known = catalog.GENERATED.get(name) or catalog.file_set(name)
    return Located(_spec(known), known.examples)


def stored_files(spec: DataSpec) -> list[Path]:
    """Return the files that a host needs to load a data set; none for a generated one.

    Raises:
        DataError: a file is missing.
    """
    if spec.directory is None:
        return []
    directory = Path(spec.directory)
    if spec.name.startswith(catalog.DIRECTORY):
        from dnnbench.data import arrays

        return [arrays.path_in(directory)]
    return files.paths_of(catalog.file_set(spec.name), directory)


def _spec(known: FileSet | GeneratedSet, directory: Path | None = None) -> DataSpec:
    return DataSpec(
        known.name,
        str(directory) if directory else None,
        known.digest,
        train_examples=known.train_count,
    )


# A place returns the directory with the verified files, or the reason why not.


def _in_data_dir(wanted: FileSet, data_dir: Path) -> Path | str:
    if not data_dir.is_dir():
        problem = "is not a directory" if data_dir.exists() else "there is no such directory"
        raise DataError(problem, where=str(data_dir), remedy="check --data-dir")
    return _verified(wanted, data_dir)


def _in_cache(wanted: FileSet, cache: Path) -> Path | str:
    """Remove what is damaged in our own cache, so that it is downloaded again."""
    sound = [file for file in wanted.files if _kept(file, cache)]
    return cache if len(sound) == len(wanted.files) else f"not in {_short(cache)}"


def _kept(file: PublishedFile, cache: Path) -> bool:
    path = files.path_of(file, cache)
    if path is None:
        return False
    try:
        files.read(path, file)
    except DataError:
        with suppress(OSError):  # if it cannot be removed, the download fails
            path.unlink()
        return False
    return True


def _in_system(wanted: FileSet) -> Path | str:
    if wanted.system_directory is None:
        return "not among Debian's packages"
    try:
        return _verified(wanted, wanted.system_directory)
    except DataError as error:
        return str(error)


def _from_mirrors(wanted: FileSet, cache: Path, progress: Progress | None) -> Path | str:
    from dnnbench.data.download import download

    try:
        download(wanted, cache, progress)
    except DataError as error:
        return f"{_short(cache)} {error.problem}" if error.where else error.problem
    return _verified(wanted, cache)


def _verified(wanted: FileSet, directory: Path) -> Path | str:
    home = files.home(directory, wanted)
    if home is None and wanted.archive and (directory / wanted.archive.name).is_file():
        raise DataError(
            f"holds {wanted.archive.name}, not unpacked",
            where=str(directory),
            remedy=f"unpack it there: tar xzf {wanted.archive.name}",
        )
    if home is None:
        return f"not in {_short(directory)}"
    files.read_all(wanted, home)
    return home


def _short(path: Path) -> str:
    """Write a path as a shell takes it, without the name of the user's home directory."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # not in there; there is none
        return str(path)


def _user_cache_dir() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("dnnbench")
