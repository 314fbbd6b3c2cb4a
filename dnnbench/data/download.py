"""Download a data set from its mirrors, checked, with progress.

A machine without a network must learn so within seconds: all mirrors are asked at once whether they
are there, and a mirror that fails is not asked again, so timeouts do not add up.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dnnbench.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from dnnbench.data.sets import Archive, FileSet

# Called with the file's name, the bytes done and the bytes in all, both over the whole set.
Progress = Callable[[str, int, int], None]

ANSWER_TIMEOUT_S = 6.0  # for any mirror to answer, name lookup included
CONNECT_TIMEOUT_S = 4.0
READ_TIMEOUT_S = 8.0  # between two pieces of a file
_PIECE_BYTES = 1 << 16


def download(wanted: FileSet, directory: Path, progress: Progress | None = None) -> None:
    """Fetch those of the set's archives that ``directory`` does not hold yet.

    A file that arrives with a wrong checksum or not whole is not kept. An archive of several files
    is unpacked and removed.

    Raises:
        DataError: no mirror answered or none could deliver a file.
    """
    mirrors = _reachable(wanted)
    failures: list[str] = []
    total_bytes = sum(archive.size_bytes for archive in wanted.archives)
    done_bytes = 0
    for archive in wanted.archives:
        while True:
            if not mirrors:
                raise DataError(f"download of {archive.name} failed: {', '.join(failures)}")
            name = archive.name.removesuffix(".gz")
            bar = progress and _Bar(progress, name, done_bytes, total_bytes)
            problem = _fetch(mirrors[0], archive, directory, bar)
            if problem is None:
                break
            failures.append(f"{_host(mirrors.pop(0))}: {problem}")
        done_bytes += archive.size_bytes
    if wanted.archive:
        from dnnbench.data.cifar import unpack  # NumPy takes a while to import

        packed = directory / wanted.archive.name
        unpack(packed, wanted, directory)
        packed.unlink()


def _reachable(wanted: FileSet) -> list[str]:
    """Return the mirrors without those known to be out of reach, as soon as one has answered."""
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()
    path = wanted.archives[0].name
    for mirror in wanted.mirrors:
        # Daemons: a name lookup cannot be called off, and must not hold up the end of the program.
        threading.Thread(target=_ask, args=(mirror, path, answers), daemon=True).start()

    problems: dict[str, str] = {}
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while len(problems) < len(wanted.mirrors):
        try:
            mirror, problem = answers.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            break
        if problem is None:
            return [mirror for mirror in wanted.mirrors if mirror not in problems]
        problems[mirror] = problem
    listed = ", ".join(
        f"{_host(mirror)}: {problems.get(mirror, 'no answer')}" for mirror in wanted.mirrors
    )
    raise DataError(f"no mirror can be reached ({listed})")


def _ask(mirror: str, path: str, answers: queue.SimpleQueue[tuple[str, str | None]]) -> None:
    import pooch

    ask = pooch.HTTPDownloader(timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
    try:
        there = ask(mirror + path, None, None, check_only=True)
        answers.put((mirror, None if there else "does not have it"))
    except OSError as error:  # the base class of requests' exceptions, too
        answers.put((mirror, _why(error)))


def _fetch(mirror: str, archive: Archive, directory: Path, bar: _Bar | None) -> str | None:
    """Fetch one archive; return what went wrong at this mirror, None if nothing."""
    import pooch
    import requests  # what pooch downloads with

    pooch.get_logger().setLevel("ERROR")  # printing is not this module's business
    downloader = pooch.HTTPDownloader(
        progressbar=bar or False,
        chunk_size=_PIECE_BYTES,
        timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
    )
    try:
        pooch.retrieve(
            mirror + archive.name,
            known_hash=f"sha256:{archive.sha256}",
            fname=archive.name,
            path=directory,
            downloader=downloader,
        )
    except requests.RequestException as error:
        return _why(error)
    except OSError as error:
        raise DataError(
            f"cannot be written: {error.strerror or error}", where=str(directory)
        ) from None
    except ValueError:  # pooch's word for a wrong checksum
        return "wrong SHA-256"
    return None


def _why(error: OSError) -> str:
    """Put one of requests' exceptions into a few words; its own are a paragraph."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    words = {
        "ConnectTimeout": "no answer",
        "ReadTimeout": "stopped answering",
        "ConnectionError": "no connection",
        "ChunkedEncodingError": "broke off",
        "ProxyError": "the proxy refused",
    }
    return words.get(type(error).__name__, type(error).__name__)


def _host(mirror: str) -> str:
    return urlsplit(mirror).netloc


class _Bar:
    """What pooch takes for a progress bar, passed on as calls of a function."""

    def __init__(self, report: Progress, name: str, before_bytes: int, total_bytes: int) -> None:
        self.total = 0  # pooch sets it
        self._report = report
        self._name = name
        self._before_bytes = before_bytes
        self._total_bytes = total_bytes
        self._done_bytes = 0

    def update(self, step_bytes: int) -> None:
        """Add a piece; pooch counts the last one as a whole one."""
        self._done_bytes = min(self._done_bytes + step_bytes, self.total or self._total_bytes)
        done_bytes = min(self._before_bytes + self._done_bytes, self._total_bytes)
        self._report(self._name, done_bytes, self._total_bytes)

    def reset(self) -> None:
        """Start again; pooch does before it fills the bar up."""
        self._done_bytes = 0

    def close(self) -> None:
        """Do nothing: the bar is its owner's to close."""
