"""Algorithms that the SSH configuration allows for a connection."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec
import paramiko

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.hosts.ssh.config.lookup import Found

_KINDS: Final = {
    "kex": "kexalgorithms",
    "ciphers": "ciphers",
    "macs": "macs",
    "keys": "hostkeyalgorithms",
    "pubkeys": "pubkeyacceptedalgorithms",
}
"""Paramiko's name of a kind of algorithm -> the keyword."""
CERTIFICATE: Final = "-cert-v01@openssh.com"
"""Suffix of a key type that is a certificate."""


class Algorithms(msgspec.Struct, frozen=True):
    """Restrictions on a connection's algorithms.

    Attributes:
        disabled: kind, as paramiko calls it -> its algorithms that must not be used.
        least_rsa_bits: least size of RSA keys, the host's and the user's.
    """

    disabled: dict[str, tuple[str, ...]] = {}
    least_rsa_bits: int = 0

    @classmethod
    def of(cls, found: Found) -> Algorithms:
        """Return the restrictions that a configuration sets for a host.

        Raises:
            ConfigError: no algorithm of a kind is left.
        """
        disabled = {}
        for kind, keyword in _KINDS.items():
            line = found.line(keyword)
            if line is None:
                continue
            ours = getattr(paramiko.Transport, f"_preferred_{kind}")
            if kind == "pubkeys":
                ours = (*ours, *(name + CERTIFICATE for name in ours))
            allowed = _allowed(line.argument, ours)
            if not allowed:
                raise ConfigError(
                    f"`{line.text}` has nothing that dnnbench supports",
                    where=line.where,
                    remedy=f"supported are {', '.join(ours)}",
                )
            disabled[kind] = tuple(name for name in ours if name not in allowed)
        size = found.line("requiredrsasize")
        if size and not size.argument.isdecimal():
            raise size.bad("expected a number of bits")
        return cls(disabled, int(size.argument) if size else 0)

    def admit(self, kind: str, bits: int) -> bool:
        """Return whether a key of the user may be used.

        Args:
            kind: type of the key or its certificate, ``ssh-ed25519``.
            bits: size of the key.
        """
        if kind.startswith("ssh-rsa") and bits < self.least_rsa_bits:
            return False
        disabled = self.disabled.get("pubkeys", ())
        return any(name not in disabled for name in signatures(kind))


def signatures(kind: str) -> tuple[str, ...]:
    """Return the signature algorithms of a key type; RSA has several."""
    plain = kind.removesuffix(CERTIFICATE)
    names = ("rsa-sha2-512", "rsa-sha2-256") if plain == "ssh-rsa" else (plain,)
    return names if plain == kind else tuple(name + CERTIFICATE for name in names)


def _allowed(text: str, ours: Sequence[str]) -> list[str]:
    """Return those of ours that a list allows: a complete list, or changes to the default one."""
    if text.startswith(("+", "^")):
        return list(ours)
    patterns = text.removeprefix("-").split(",")
    named = [name for name in ours if any(_is_named(name, pattern) for pattern in patterns)]
    if text.startswith("-"):
        return [name for name in ours if name not in named]
    return named


def _is_named(name: str, pattern: str) -> bool:
    """Return whether a pattern matches an algorithm, under its original or its later name."""
    return any(fnmatchcase(n, pattern) for n in (name, name.removesuffix("@libssh.org")))
