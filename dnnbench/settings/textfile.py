"""Read a file that may be of anybody's making: a regular one, of a bounded size."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from typing import BinaryIO

    from dnnbench.errors import DnnbenchError

MOST_BYTES: Final = 8_000_000
"""An inventory of 10,000 hosts is about 1 MB."""

_NAME_MOST_BYTES: Final = 255  # the limit of Linux's file systems
_PATH_MOST_BYTES: Final = 3500  # Linux allows 4095: leaves room for what is created inside
_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_text(path: Path, *, remedy: str | None = None) -> str:
    """Return a file's text, without the byte order mark that Windows editors write.

    Args:
        path: of the file.
        remedy: for a missing file.

    Raises:
        ConfigError: it is missing, cannot be read, is not a regular file, is too large, or is not
            UTF-8.
    """
    try:
        content = read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        problem = "is a link to a file that does not exist" if path.is_symlink() else None
        problem = problem or "there is no such file"
        raise ConfigError(problem, where=str(path), remedy=remedy) from None
    except (OSError, ValueError) as error:  # ValueError: the path has a null byte
        cause = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot be read: {cause}", where=str(path)) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text at byte {error.start}", where=str(path)) from None


def local_path(text: str, where: str) -> Path:
    """Return a path that the user wrote, with its ``~`` expanded.

    Raises:
        ConfigError: the home directory does not exist, or the path is longer than Linux allows.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{text!r}: there is no such home directory", where=where) from None
    longest_bytes = max((len(os.fsencode(name)) for name in path.parts), default=0)
    if longest_bytes > _NAME_MOST_BYTES or len(os.fsencode(path)) > _PATH_MOST_BYTES:
        raise ConfigError(
            f"expected a path with at most {_NAME_MOST_BYTES} bytes per name and "
            f"{_PATH_MOST_BYTES} in all, got {text!r}",
            where=where,
        )
    return path


def open_regular(path: Path, error: type[DnnbenchError] = ConfigError) -> BinaryIO:
    """Open a file to read, at once: a named pipe would wait for a writer.

    Raises:
        OSError: it cannot be opened.
        DnnbenchError: of the class given: it is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        found = _KINDS.get(kind, "something else")
        raise error(f"expected a regular file, found {found}", where=str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most_bytes: int, error: type[DnnbenchError] = ConfigError) -> bytes:
    """Return the content of a regular file of a bounded size.

    Raises:
        OSError: it cannot be read.
        DnnbenchError: of the class given: it is not a regular file, or too large.
    """
    with open_regular(path, error) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        problem = f"expected at most {most_bytes / 1e6:g} MB, found more"
        raise error(problem, where=str(path))
    return content
