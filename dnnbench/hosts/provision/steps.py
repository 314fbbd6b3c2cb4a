"""Provision one host step by step; whatever already exists there is left alone."""

from __future__ import annotations

import platform
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.onhost import uv
from dnnbench.hosts.provision.answers import convert
from dnnbench.hosts.provision.facts import Facts, chosen_python, facts_of, refuse_unfit
from dnnbench.hosts.provision.wanted import environment_of
from dnnbench.settings.checks import check_index_url
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import DataFile, Wanted
    from dnnbench.settings.schema import Config

State = Literal["ok", "changed", "failed"]
STEPS = ("facts", "environment", "package", "data")
INSTALL_TIMEOUT_S = 1800.0
"""TensorFlow is 0.25 GB to download and 1.5 GB to unpack."""


class Step(msgspec.Struct, frozen=True):
    """The result of one step on one host.

    Attributes:
        name: one of `STEPS`.
        detail: what was found, done or wrong, for the user.
    """

    name: str
    state: State
    detail: str = ""
    duration_s: float = 0.0


class _Installed(msgspec.Struct, frozen=True):
    """An answer to ``install``: the result of one part of it."""

    state: State
    problem: str | None = None
    remedy: str | None = None


class Removed(msgspec.Struct, frozen=True):
    """An answer to ``remove``.

    Attributes:
        removed: whether dnnbench's directory existed.
        left: names in it that are not dnnbench's.
    """

    removed: bool
    left: list[Text]


class Site:
    """A directory that several hosts share.

    Attributes:
        leader: the host that makes changes for all of them.
        is_as_found: the leader has finished without a change.
    """

    def __init__(self, leader: str) -> None:
        self.leader = leader
        self.is_as_found = False
        self.done = threading.Event()

    def changed_by_leader(self, states: Collection[State]) -> None:
        """Record whether the leader's steps have changed the directory."""
        self.is_as_found = set(states) == {"ok"}


class Sites:
    """Let one host make the changes for all that share its directory, such as a common home."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sites: dict[str, Site] = {}

    @contextmanager
    def turn(self, directory_id: str, host: str) -> Iterator[Site]:
        """Enter as the leader of a directory, or after its leader has finished.

        Raises:
            HostError: the leader takes too long.
        """
        with self._lock:
            site = self._sites.setdefault(directory_id, Site(host))
        if site.leader == host:
            try:
                yield site
            finally:
                site.done.set()
            return
        if not site.done.wait(INSTALL_TIMEOUT_S):
            raise HostError(
                f"shares its directory with {site.leader}, which did not finish in "
                f"{INSTALL_TIMEOUT_S:.0f} s",
                where=host,
            )
        yield site


def provision(
    tools: HostTools,
    config: Config,
    wanted: Wanted,
    sites: Sites,
    tell: Callable[[str, Step], None],
) -> Facts:
    """Provision a host.

    Args:
        tools: the host's tools.
        config: gives the directory, the interpreter and the package index.
        wanted: what the host must have.
        sites: shared by all hosts of the command.
        tell: called with the host's name and every step as it ends.

    Returns:
        The host's facts.

    Raises:
        HostError: a step failed; ``tell`` was called with it.
    """
    start_s = time.monotonic()

    def done(name: str, state: State, detail: str = "") -> None:
        nonlocal start_s
        now_s = time.monotonic()
        tell(tools.host, Step(name, state, detail, now_s - start_s))
        start_s = now_s

    step = "facts"
    try:
        facts = facts_of(tools, config, wanted)
        refuse_unfit(facts, config, tools.host)
        done("facts", "ok", facts.summary)
        with sites.turn(facts.directory_id, tools.host) as site:
            leader = None if site.leader == tools.host else site.leader
            if leader is not None and not site.is_as_found:
                facts = facts_of(tools, config, wanted)
            states: set[State] = set()
            for step, run in (
                ("environment", _environment),
                ("package", _package),
                ("data", _data),
            ):
                state, detail = run(tools, config, wanted, facts, leader)
                done(step, state, detail)
                states.add(state)
            if leader is None:
                site.changed_by_leader(states)
    except HostError as error:
        done(step, "failed", f"{error.problem}; {error.remedy}" if error.remedy else error.problem)
        raise
    return facts


def _environment(
    tools: HostTools, config: Config, wanted: Wanted, facts: Facts, leader: str | None
) -> tuple[State, str]:
    key, needed = environment_of(facts.machine, wanted.device)
    python = chosen_python(facts, config, tools.host)
    if python is None:
        return "ok", needed[0]
    _refuse_follower(tools, leader)
    pushed = _push_missing(tools, facts, wanted.wheels)
    own_uv, by_uv = _uv(tools, config, facts)
    index_url = config.provision.index_url
    if index_url is not None:
        check_index_url(
            index_url, "[provision] index_url"
        )  # a stored sweep's settings have no login
    _install(
        tools,
        environment={
            "key": key,
            "python": python.path,
            "requirements": needed,
            "index_url": index_url,
            "find_links": "wheels" if wanted.wheels else None,
            "uv": own_uv,
        },
    )
    return "changed", f"{needed[0]}, Python {python.version}{pushed}{by_uv}"


def _uv(tools: HostTools, config: Config, facts: Facts) -> tuple[bool | str | None, str]:
    """Return what ``install`` takes as ``uv``, pushed there if need be, and a note on it."""
    if not config.provision.uv or facts.uv not in (uv.THERE, uv.MISSING):
        return None, ""
    if facts.uv == uv.THERE:
        return True, ", by its uv"
    own = uv.found() or shutil.which("uv", path=str(Path(sys.executable).parent))
    if own is None or facts.machine != platform.machine():
        return None, ""
    tools.connection.push(Path(own), f"{facts.directory}/tools/uv")
    return "tools/uv", ", by a uv pushed there"


def _package(
    tools: HostTools, config: Config, wanted: Wanted, facts: Facts, leader: str | None
) -> tuple[State, str]:
    del config
    if wanted.wheel.digest in facts.packages:
        return "ok", f"dnnbench, wheel {wanted.wheel.digest}"
    _refuse_follower(tools, leader)
    path = f"wheels/{wanted.wheel.digest}/{wanted.wheel.file_name}"
    tools.connection.push(wanted.wheel.content, f"{facts.directory}/{path}")
    key, _ = environment_of(facts.machine, wanted.device)
    _install(tools, package={"digest": wanted.wheel.digest, "wheel": path, "environment": key})
    return "changed", f"dnnbench, wheel {wanted.wheel.digest}"


def _data(
    tools: HostTools, config: Config, wanted: Wanted, facts: Facts, leader: str | None
) -> tuple[State, str]:
    if not wanted.data:
        return "ok", "generated on the host"
    missing = [file for file in wanted.data if facts.data.get(file.path) != "ok"]
    if not missing:
        return "ok", f"{len(wanted.data)} files"
    _refuse_follower(tools, leader)
    _push_missing(tools, facts, missing)
    again = facts_of(tools, config, wanted)
    wrong = [file.path for file in wanted.data if again.data.get(file.path) != "ok"]
    if wrong:
        raise HostError(
            f"{wrong[0]} is not what was pushed",
            where=tools.host,
            remedy="check the disk there, then provision again",
        )
    return "changed", f"{len(missing)} files"


def _install(tools: HostTools, **request: Any) -> None:
    """Have the host install an environment or a package."""
    for line in tools.lines("install", INSTALL_TIMEOUT_S, **request):
        done = convert(tools.host, line, _Installed)
        if done.state == "failed":
            problem = one_line(done.problem or "the installation failed")
            remedy = done.remedy and one_line(done.remedy)
            raise HostError(problem, where=tools.host, remedy=remedy)


def _push_missing(tools: HostTools, facts: Facts, files: list[DataFile]) -> str:
    todo = [file for file in files if facts.data.get(file.path) != "ok"]
    for file in todo:
        tools.connection.push(file.source, f"{facts.directory}/{file.path}")
    return f", {len(todo)} wheels pushed" if todo else ""


def _refuse_follower(tools: HostTools, leader: str | None) -> None:
    """Refuse to change anything unless the host is the leader, whose failure is the cause."""
    if leader is not None:
        raise HostError(
            f"shares its directory with {leader}, where this failed",
            where=tools.host,
            remedy=f"see {leader}",
        )
