"""``install``: create a virtual environment with TensorFlow, and install the dnnbench package.

Whatever is complete is left alone; a failure leaves nothing behind but ``install.log``.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import IO, TYPE_CHECKING, Any

from . import directory, pip, uv
from .facts import has_environment
from .wire import HostProblem, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from .wire import Answer, Request

LOG = "install.log"
_DEADLINE_S = 1700.0


def run(request: Request) -> Iterator[Answer]:
    """Install what is requested and missing; yield one answer per step when it ends.

    Args:
        request: ``directory``; ``environment`` {key, python, requirements, index_url, find_links,
            uv} or null, where ``uv`` is the path of one, true for this host's own, or null for
            pip; ``package`` {digest, wheel, environment} or null: the key of the environment whose
            pip installs it; ``deadline_s``. ``find_links``, ``uv`` and ``wheel`` are relative to
            the directory.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _give_up)
    home = directory.made(request["directory"])
    directory.safe(home, "env", "packages", *_wheels(home))
    wait_s = request.get("deadline_s") or _DEADLINE_S
    deadline_s = time.monotonic() + wait_s
    with directory.locked(home, wait_s) as lock, _log(home) as log:
        installer = pip.Installer(home, log, lock, deadline_s, _uv(home, request))
        for name, step in _steps(installer, request):
            answer = _done(name, step)
            yield answer
            if answer["state"] == "failed":
                return


def _steps(installer: pip.Installer, request: Request) -> Iterator[tuple[str, Callable[[], bool]]]:
    environment, package = request.get("environment"), request.get("package")
    if environment:
        yield "environment", lambda: _environment(installer, environment)
    if package:
        yield "package", lambda: _package(installer, package)


def _done(name: str, step: Callable[[], bool]) -> Answer:
    """Run a step and return its result."""
    started_s = time.monotonic()
    problem = None
    state = "failed"
    try:
        state = "changed" if step() else "ok"
    except HostProblem as error:
        problem = error
    except OSError as error:
        problem = problem_of(error)
        if problem is None:
            raise
    return {
        "step": name,
        "state": state,
        "problem": problem and problem.problem,
        "remedy": problem and problem.remedy,
        "duration_s": round(time.monotonic() - started_s, 3),
    }


def _environment(installer: pip.Installer, wanted: dict[str, Any]) -> bool:
    """Create a virtual environment if it is missing, in place: it cannot be moved.

    Returns:
        Whether there was anything to do.
    """
    if has_environment(installer.home, wanted["key"]):
        return False
    path = os.path.join(installer.home, "env", wanted["key"])
    shutil.rmtree(path, ignore_errors=True)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        installer.make_environment(wanted["python"], path)
        installer.install(
            path,
            wanted["requirements"],
            index_url=wanted.get("index_url"),
            find_links=wanted.get("find_links"),
        )
        about = {"requirements": wanted["requirements"], "python": wanted["python"]}
        directory.mark_complete(path, about)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return True


def _package(installer: pip.Installer, wanted: dict[str, Any]) -> bool:
    """Install dnnbench's wheel if it is missing, aside and then renamed.

    Returns:
        Whether there was anything to do.
    """
    path = os.path.join(installer.home, "packages", wanted["digest"])
    if directory.is_complete(path):
        return False
    if not has_environment(installer.home, wanted["environment"]):
        raise HostProblem(
            "there is no environment to install the package", "provision the host again"
        )
    environment = os.path.join(installer.home, "env", wanted["environment"])
    aside = path + ".aside"
    for leftover in (path, aside):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        installer.install_package(environment, wanted["wheel"], aside)
        directory.mark_complete(aside, {"wheel": wanted["wheel"]})
        os.rename(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _uv(home: str, request: Request) -> str | None:
    """Return the path of the uv that is to be used; None for pip."""
    wanted = (request.get("environment") or {}).get("uv")
    if not wanted or wanted is True:
        return uv.found() if wanted else None
    path = os.path.join(home, wanted)
    directory.safe(home, path)
    os.chmod(path, 0o700)
    return path


def _wheels(home: str) -> list[str]:
    """Return every path from which pip may install."""
    folders = (found[0] for found in os.walk(os.path.join(home, "wheels")))
    return [path for folder in folders for path in (folder, *(e.path for e in os.scandir(folder)))]


def _give_up(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that unfinished work is removed."""
    del frame
    raise SystemExit(128 + number)


def _log(home: str) -> IO[bytes]:
    return open(os.path.join(home, LOG), "ab")
