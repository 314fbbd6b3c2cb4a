"""Write files on a host through a shell there, whole or not at all."""

from __future__ import annotations

import io
import shlex
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from dnnbench.errors import HostError
from dnnbench.hosts.provision.invocation import shell_path
from dnnbench.text.safe import one_line

if TYPE_CHECKING:
    from typing import BinaryIO

    from dnnbench.hosts.connectors.process_connection import ProcessConnection

_CHUNK_BYTES: Final = 64 * 1024
_END_TIMEOUT_S: Final = 60.0
_REFUSED: Final = 73
"""Exit code if the file cannot be written; EX_CANTCREAT of sysexits.h."""
_INCOMPLETE: Final = 74
"""Exit code if not every byte has arrived; EX_IOERR of sysexits.h."""


def push(connection: ProcessConnection, local: Path | bytes, remote: str) -> None:
    """Write a temporary file, verify its size, and rename it; see `Connection.push`.

    Raises:
        HostError: it cannot be written, or the host takes nothing for a minute.
    """
    path = PurePosixPath(remote)
    with _opened(local) as file:
        size_bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        stream = connection.open(_command(path, size_bytes), name=f"write {path.name}")
        try:
            failure = None
            try:
                while chunk := file.read(_CHUNK_BYTES):
                    stream.write(chunk)
            except HostError as error:  # the exit code tells why it takes no more
                failure = error
            stream.end_input()
            code = stream.exit_code(_END_TIMEOUT_S)
            if code or failure or code is None:
                raise _failed(connection.host, path, code, stream.errors, failure)
        finally:
            stream.close()


def _command(path: PurePosixPath, size_bytes: int) -> str:
    """Return a command in one line, which any shell runs; files are for the user alone."""
    target = shell_path(str(path))
    folder = shell_path(str(path.parent))
    aside = shell_path(str(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")))
    script = (
        f"umask 077; mkdir -p {folder} && cat > {aside} || {{ rm -f {aside}; exit {_REFUSED}; }}; "
        f'[ "$(wc -c < {aside})" -eq {size_bytes} ] || {{ rm -f {aside}; exit {_INCOMPLETE}; }}; '
        f"mv -f {aside} {target} || {{ rm -f {aside}; exit {_REFUSED}; }}"
    )
    return f"exec sh -c {shlex.quote(script)}"


def _opened(local: Path | bytes) -> BinaryIO:
    return io.BytesIO(local) if isinstance(local, bytes) else local.open("rb")


def _failed(
    host: str, path: PurePosixPath, code: int | None, errors: str, failure: HostError | None
) -> HostError:
    last = one_line("".join(errors.splitlines()[-1:]))
    if code == _REFUSED:
        remedy = "is the disk full, or does [cluster] directory belong to another user?"
        return HostError(f"{path} cannot be written: {last}", where=host, remedy=remedy)
    if code is None and failure:
        return failure
    ended = f"the command ended with {code}" if code else "it did not end"
    if code == _INCOMPLETE:
        ended = "a part of it did not arrive"
    problem = f"the connection was lost while {path} was written: {last or ended}"
    return HostError(problem, where=host)
