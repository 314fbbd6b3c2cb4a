"""Host keys: read and extend known_hosts, and verify a host's key against it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shlex
import stat
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.errors import ConfigError, HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dnnbench.hosts.ssh.settings import Target

TRUST_COMMAND: Final = "dnnbench hosts trust"
_REVOKED: Final = "@revoked"
_AUTHORITY: Final = "@cert-authority"


class UnknownKeyError(HostError):
    """A host shows a key, and no key of it is known."""


class HostKey(NamedTuple):
    """The public key of a host.

    Attributes:
        kind: key type as in known_hosts, ``ssh-ed25519``.
        base64: the key itself, as in known_hosts.
    """

    kind: str
    base64: str

    @property
    def name(self) -> str:
        """The key type as OpenSSH prints it, ``ED25519``."""
        return self.kind.removeprefix("ssh-").partition("-")[0].upper()

    @property
    def fingerprint(self) -> str:
        """The fingerprint as OpenSSH prints it."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class Entry(NamedTuple):
    """A line of known_hosts about a host.

    Attributes:
        marker: ``@revoked``, ``@cert-authority`` or empty.
    """

    path: str
    line: int
    marker: str
    key: HostKey

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"


def entries(target: Target) -> list[Entry]:
    """Return the entries of known_hosts for a host, including hashed names and patterns.

    Raises:
        ConfigError: a file exists but cannot be read.
    """
    return [entry for path in target.known_hosts for entry in _matching(path, target.known_as)]


def verify(target: Target, key: HostKey) -> None:
    """Verify that a host shows its known key.

    Raises:
        UnknownKeyError: no key of the host is known.
        HostError: the key is a different one, or is revoked.
    """
    known = entries(target)
    shown = f"its {key.name} key {key.fingerprint}"
    for entry in known:
        if entry.key == key and entry.marker == _REVOKED:
            problem = f"{shown} is revoked at {entry.where}"
            raise HostError(problem, where=target.name, remedy="do not use this host")
    others = [entry for entry in known if not entry.marker]
    if any(entry.key == key for entry in others):
        return
    if not others:
        raise _unknown(target, shown, [e for e in known if e.marker == _AUTHORITY])
    other = others[0]
    raise HostError(
        f"the host key has changed: {shown} is not the {other.key.name} key of "
        f"{other.where}; the host was reinstalled, or somebody intercepts the connection",
        where=target.name,
        remedy=f"once you know why: ssh-keygen -f {shlex.quote(other.path)} "
        f"-R {shlex.quote(target.known_as)}, then {TRUST_COMMAND}",
    )


def _unknown(target: Target, shown: str, authorities: list[Entry]) -> UnknownKeyError:
    remedy = f"check it, then trust it with: {TRUST_COMMAND}"
    problem = f"the host key is unknown: {shown} is not in {target.known_hosts[0]}"
    if authorities:
        problem += (
            f"; {authorities[0].where} trusts a certificate authority, but dnnbench cannot "
            "verify host certificates"
        )
    return UnknownKeyError(problem, where=target.name, remedy=remedy)


def add(path: Path, trusted: Iterable[tuple[str, HostKey]]) -> None:
    """Append keys to known_hosts in one write; create the file if needed.

    Args:
        path: the file.
        trusted: hosts, named as in `Target.known_as`, with their keys.

    Raises:
        ConfigError: the file cannot be written.
    """
    lines = "".join(f"{name} {key.kind} {key.base64}\n" for name, key in trusted)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "rb+", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # such as /dev/null
                raise ConfigError("is not a regular file, and would keep nothing", where=str(path))
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                lines = "\n" + lines  # the last line lacks its end
            file.write(lines.encode())
            os.fsync(descriptor)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(path)) from error


def _matching(path: str, name: str) -> Iterator[Entry]:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path) from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#"):  # noqa: PLR2004
            continue
        names, kind, key, *_ = fields
        if _is_named(name, names.split(",")):
            yield Entry(path, number, marker, HostKey(kind, key))


def _is_named(name: str, patterns: list[str]) -> bool:
    if any(_matches(name, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(_matches(name, pattern) for pattern in patterns)


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("|1|"):
        try:
            salt, digest = map(base64.b64decode, pattern.split("|")[2:])
        except ValueError:  # damaged
            return False
        return hmac.compare_digest(hmac.digest(salt, name.lower().encode(), "sha1"), digest)
    if "*" not in pattern and "?" not in pattern:  # most have none, and this is much faster
        return name.lower() == pattern.lower()
    # In known_hosts, unlike in a shell, a bracket is part of a name: [address]:port.
    return fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))
