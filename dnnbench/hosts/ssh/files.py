"""Write files on a host, whole or not at all."""

from __future__ import annotations

import io
import shlex
import uuid
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import paramiko

from dnnbench.errors import HostError

if TYPE_CHECKING:
    from typing import BinaryIO

    from dnnbench.hosts.ssh.connection import Connection

_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
"""For the user alone, regardless of the host's umask."""


def push(
    connection: Connection,
    sftp: paramiko.SFTPClient,
    local: Path | bytes,
    remote: str,
) -> None:
    """Write a temporary file and rename it; see `Connection.push`."""
    path = PurePosixPath(remote)
    aside = str(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}"))
    with _opened(local) as file:
        size_bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        try:
            _make_directory(sftp, path.parent)
            sftp.putfo(file, aside, size_bytes)
            sftp.chmod(aside, _FILE_MODE)
            sftp.posix_rename(aside, remote)
        except (OSError, EOFError, paramiko.SSHException) as error:
            with suppress(OSError, EOFError, paramiko.SSHException):
                sftp.remove(aside)
            raise _failed(connection, path, size_bytes, error) from error


def _opened(local: Path | bytes) -> BinaryIO:
    return io.BytesIO(local) if isinstance(local, bytes) else local.open("rb")


def _make_directory(sftp: paramiko.SFTPClient, path: PurePosixPath) -> None:
    try:
        sftp.stat(str(path))
    except FileNotFoundError:
        _make_directory(sftp, path.parent)
        with suppress(OSError):  # another connection may have done it; else writing fails
            sftp.mkdir(str(path), _FOLDER_MODE)


def _failed(
    connection: Connection, path: PurePosixPath, size_bytes: int, error: Exception
) -> HostError:
    """Return an error with its cause; SFTP itself has no code for a full disk."""
    where = connection.host
    if isinstance(error, PermissionError):
        remedy = "choose a [cluster] directory that belongs to the user"
        return HostError(f"{path} may not be written", where=where, remedy=remedy)
    if not connection.is_open:
        return HostError(f"the connection was lost while {path} was written", where=where)
    free_bytes = _free_bytes(connection, path.parent)
    if free_bytes is not None and free_bytes < size_bytes:
        full = HostError(
            f"no space left for {path}: it needs {size_bytes:,} bytes, {free_bytes:,} are free",
            where=where,
            remedy="free some space there, or choose another [cluster] directory",
        )
        return full.of_kind("disk-full")
    remedy = "is the disk full, or a quota used up?"
    return HostError(f"{path} cannot be written: {error}", where=where, remedy=remedy)


def _free_bytes(connection: Connection, directory: PurePosixPath) -> int | None:
    with suppress(HostError, ValueError, IndexError):
        table = connection.run(f"df -Pk {shlex.quote(str(directory))}").stdout
        return int(table.splitlines()[1].split()[3]) * 1024
    return None
