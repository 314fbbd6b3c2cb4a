"""Versions of the software on hosts, which must be those of this side."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from dnnbench.errors import HostError
from dnnbench.text.safe import one_line
from dnnbench.trial.machine import installed_versions
from dnnbench.trial.messages import AgentFailed, AgentReady

if TYPE_CHECKING:
    from dnnbench.trial.messages import AnyEvent

_ALIKE: Final = ("dnnbench", "tensorflow")
"""Packages that `provision` installs in the version of this side."""
_REMEDY: Final = "run `dnnbench provision`, so that all hosts have the versions of this machine"


def refusal_of_agent(host: str, event: AnyEvent) -> HostError | None:
    """Return why an agent cannot be used, from its first event; None if it can.

    It cannot import TensorFlow, or it has another version than this side. What one of them does not
    have is not compared: this side may have no TensorFlow.
    """
    if isinstance(event, AgentFailed):
        return HostError(event.cause, where=host, remedy=_REMEDY).of_kind(event.kind)
    if not isinstance(event, AgentReady):
        return None
    here, there = _versions_here(), event.machine.versions
    for package in _ALIKE:
        ours, theirs = here.get(package), there.get(package)
        if ours and theirs and ours != theirs:
            problem = f"expected {package} {ours}, as on this machine, found {one_line(theirs)}"
            return HostError(problem, where=host, remedy=_REMEDY).of_kind("version")
    return None


@cache
def _versions_here() -> dict[str, str | None]:
    return installed_versions()
