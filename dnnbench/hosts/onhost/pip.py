"""Run ``venv``, ``uv`` and ``pip`` with a deadline, and explain their failures in one line."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING

from .wire import HostProblem, listener_gone

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ_BYTES = 1 << 16
_TAIL_BYTES = 1 << 15
_WATCH_MS = 1000
# Give up on an index that cannot be reached within half a minute.
_PATIENCE = ("--retries", "2", "--timeout", "10")
_OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError"
    r"|SSLError|Max retries exceeded|Could not fetch URL|HTTP error|connection broken"
    r"|not a trusted or secure host"
)
_WHY_OFFLINE = re.compile(
    r"Connection refused|Temporary failure in name resolution|Name or service not known"
    r"|Network is unreachable|No route to host|timed out|certificate verify failed"
    r"|not a trusted or secure host|HTTP error \d+|[45]\d\d (?:Client|Server) Error"
)
_UNMATCHED = re.compile(r"(?:No matching distribution found for|satisfies the requirement) (\S+)")
_NO_ENSUREPIP = re.compile(
    r"ensurepip is (?:not available|disabled)|No module named '?(?:ensurepip|venv)"
)
_NO_SPACE = re.compile(r"No space left on device|Errno 28|[Dd]isk quota exceeded|Errno 122")


_UV_OPTIONS = ("--no-cache", "--no-progress", "--color", "never", "--compile-bytecode")


class InstallationFailed(HostProblem):
    """A command that ended with an error, as opposed to one that had to be ended."""


class Installer:
    """Installs into one directory.

    Attributes:
        home: dnnbench's directory.
    """

    def __init__(
        self, home: str, log: IO[bytes], lock: int, deadline_s: float, uv: str | None = None
    ) -> None:
        self.home = home
        self._uv = uv
        self._log = log
        self._lock = lock
        self._deadline_s = deadline_s

    def make_environment(self, python: str, path: str) -> None:
        """Create a virtual environment with pip."""
        # In two steps, because venv does not pass on ensurepip's error.
        self._run([python, "-I", "-m", "venv", "--without-pip", path], "")
        self._run([_python(path), "-I", "-m", "ensurepip", "--default-pip"], "")

    def install(
        self,
        environment: str,
        requirements: Sequence[str],
        index_url: str | None,
        find_links: str | None,
    ) -> None:
        """Install requirements into a virtual environment, from an index or only from files."""
        source = []
        if find_links:
            source = ["--no-index", "--find-links", os.path.join(self.home, find_links)]
        index_url = index_url if index_url and not find_links else ""
        if self._uv:
            uv = [self._uv, "pip", "install", *_UV_OPTIONS, "--python", _python(environment)]
            try:
                self._run([*uv, *source, *requirements], index_url)
            except InstallationFailed as error:
                # It may lack what pip has here, such as certificates: pip has the last word.
                self._log.write(f"uv failed: {error}; pip is next\n".encode())
            else:
                return
        self._run([*_pip(environment), *_PATIENCE, *source, *requirements], index_url)

    def install_package(self, environment: str, wheel: str, target: str) -> None:
        """Install one wheel into a directory of its own, without its dependencies."""
        options = ["--no-deps", "--no-index", "--no-compile", "--target", target]
        self._run([*_pip(environment), *options, os.path.join(self.home, wheel)], "")

    def _run(self, command: list[str], index_url: str) -> None:
        """Run a command to its end.

        Raises:
            InstallationFailed: it failed.
            HostProblem: it took too long, or the caller is gone.
        """
        # Everything in dnnbench's directory: /tmp may be small, and a cache would stay behind.
        scratch = os.path.join(self.home, "tmp")
        shutil.rmtree(scratch, ignore_errors=True)
        os.mkdir(scratch)
        environment = {**os.environ, "TMPDIR": scratch, "LC_ALL": "C"}
        if index_url:
            # It may contain a password, which every user could see in the list of processes.
            environment["PIP_INDEX_URL"] = environment["UV_DEFAULT_INDEX"] = index_url
        try:
            process = subprocess.Popen(
                command,
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._lock],  # held while this process may still write
            )
            try:
                output = self._watch(process, command)
            finally:
                _end(process)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if process.returncode:
            raise diagnosed(output, f"{self.home}/install.log")

    def _watch(self, process: subprocess.Popen[bytes], command: list[str]) -> str:
        """Copy the command's output to the log until it ends; return the end of it."""
        assert process.stdout
        self._log.write(os.fsencode(f"$ {' '.join(command)}\n"))
        tail = b""
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        poll.register(sys.stdout.fileno(), 0)
        while True:
            poll.poll(_WATCH_MS)
            if listener_gone():
                raise HostProblem("the caller is gone")
            if time.monotonic() > self._deadline_s:
                raise HostProblem(
                    "the installation did not end in time",
                    "provision the host again, or set [provision] index_url to a nearer index",
                )
            if not select.select([process.stdout], [], [], 0)[0]:
                continue
            chunk = os.read(process.stdout.fileno(), _READ_BYTES)
            if not chunk:
                process.wait()
                return tail.decode(errors="replace")
            self._log.write(chunk)
            self._log.flush()
            tail = (tail + chunk)[-_TAIL_BYTES:]


def diagnosed(output: str, log: str) -> InstallationFailed:
    """Return the cause of a failure and its remedy, found in the output of venv or pip."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    headline = (errors or lines or ["it printed nothing"])[-1]
    cause = re.sub(r"^(?i:error):\s*", "", headline)
    if _NO_SPACE.search(output):
        return InstallationFailed(
            "no disk space left while installing",
            "free some space there, or set [cluster] directory to another disk",
        )
    if _NO_ENSUREPIP.search(output):
        return InstallationFailed(
            "Python there cannot create virtual environments: ensurepip is missing",
            "install its venv package (Debian: apt install python3-venv), "
            "or name another in [provision] python",
        )
    if _OFFLINE.search(output):
        why = _WHY_OFFLINE.search(output)
        return InstallationFailed(
            f"the package index cannot be used: {why.group() if why else cause}",
            "set [provision] index_url to one that is reachable from there, or push a directory of "
            "wheels: [provision] wheels",
        )
    unmatched = _UNMATCHED.search(cause)
    if unmatched:
        return InstallationFailed(
            f"no package of {unmatched.group(1)} fits the Python and processor there",
            "add it to the index or the wheels, or name another Python in [provision] python",
        )
    return InstallationFailed(f"the installation failed: {cause}", f"see {log} there")


def _pip(environment: str) -> list[str]:
    quiet = ["--disable-pip-version-check", "--no-input", "--no-cache-dir", "--progress-bar", "off"]
    return [_python(environment), "-I", "-m", "pip", "install", *quiet]


def _python(environment: str) -> str:
    return os.path.join(environment, "bin", "python")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and whatever it started; harmless if it has ended."""
    assert process.stdout
    process.stdout.close()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
