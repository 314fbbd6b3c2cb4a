"""Find hosts whose SSH key is not in known_hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dnnbench.errors import HostError
from dnnbench.hosts.parallel import each
from dnnbench.hosts.ssh.connection import fetch_host_key
from dnnbench.hosts.ssh.known_hosts import HostKey, UnknownKeyError, verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.hosts.ssh.settings import Target
    from dnnbench.settings.schema import SshConfig


class Shown(NamedTuple):
    """A host, and the key that it shows."""

    target: Target
    key: HostKey


class Survey(NamedTuple):
    """The keys that hosts show.

    Attributes:
        known: hosts that show their known key.
        unknown: hosts without a known key.
        behind: hosts that can only be asked once a jump host in `unknown` is trusted.
        failures: name -> an error: the host cannot be asked, or its key has changed.
    """

    known: list[Target]
    unknown: list[Shown]
    behind: list[Target]
    failures: dict[str, HostError]


def look_at(targets: Iterable[Target], settings: SshConfig) -> Survey:
    """Ask hosts, and the jump hosts before them, for their keys."""
    survey = Survey([], [], [], {})
    pending = _with_jumps(targets)
    while pending:
        strange = {shown.target.known_as for shown in survey.unknown}
        blocked = strange | set(pending)
        ready = [
            known_as
            for known_as, target in pending.items()
            if target.jump is None or target.jump.known_as not in blocked
        ]
        if not ready:
            break
        outcomes = each(ready, lambda known_as: _look(pending[known_as], settings))
        for known_as, outcome in outcomes.items():
            target = pending.pop(known_as)
            if isinstance(outcome, HostError):
                survey.failures[target.name] = outcome
            elif outcome:
                survey.unknown.append(Shown(target, outcome))
            else:
                survey.known.append(target)
    survey.behind.extend(pending.values())
    return survey


def _look(target: Target, settings: SshConfig) -> HostKey | None:
    """Return the key that the host shows if no key of it is known, or else None."""
    key = fetch_host_key(target, settings)
    try:
        verify(target, key)
    except UnknownKeyError:
        return key
    return None


def _with_jumps(targets: Iterable[Target]) -> dict[str, Target]:
    """Return every machine once; a jump host that is also listed keeps its name in the list."""
    listed = list(targets)
    found: dict[str, Target] = {}
    for target in listed:
        found.setdefault(target.known_as, target)
    for target in listed:
        jump = target.jump
        while jump:
            found.setdefault(jump.known_as, jump)
            jump = jump.jump
    return found
