"""Read a text file that a user wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def read_text(path: Path, *, remedy: str | None = None) -> str:
    """Return a file's text, without the byte order mark that editors on Windows put in front.

    Args:
        path: of the file.
        remedy: where there is no such file.

    Raises:
        ConfigError: it is missing, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=str(path), remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text at byte {error.start}", where=str(path)) from None
    except (OSError, ValueError) as error:  # ValueError: the path has a null byte
        cause = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot be read: {cause}", where=str(path)) from error
