"""Complete a host's name according to CanonicalizeHostname."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from dnnbench.hosts.ssh.config.lookup import Found

_MODES: Final = ("no", "false", "yes", "true", "always")


class Rules(NamedTuple):
    """Rules for the completion of a name.

    Attributes:
        domains: domains to try, in this order.
        most_dots: most dots in a name that is to be completed.
        may_fail: whether a name that exists in none of the domains stays as it is.
        where: file and line.
    """

    domains: tuple[str, ...]
    most_dots: int
    may_fail: bool
    where: str


def rules(found: Found) -> Rules | None:
    """Return the rules for a host; None if its name is not to be completed.

    Raises:
        ConfigError: a value is invalid.
    """
    line = found.line("canonicalizehostname")
    if line is None:
        return None
    mode = line.argument.lower()
    if mode not in _MODES:
        raise line.bad("expected no, yes or always")
    if mode in ("no", "false"):
        return None
    dots = found.line("canonicalizemaxdots")
    if dots and not dots.argument.isdecimal():
        raise dots.bad("expected a number")
    domains = found.line("canonicaldomains")
    # A proxy may know names that this machine does not, so its names are not completed.
    is_direct = found.value("proxycommand") is None and found.value("proxyjump") is None
    stays = not is_direct and mode != "always"
    return Rules(
        domains=() if domains is None or stays else domains.arguments,
        most_dots=int(dots.argument) if dots else 1,
        may_fail=stays
        or found.line("canonicalizefallbacklocal") is None
        or found.is_set("canonicalizefallbacklocal"),
        where=line.where,
    )


def name(host: str, given: Rules) -> str:
    """Return a name, completed if it exists in one of the domains.

    Raises:
        ConfigError: it exists in none, and the rules do not allow that.
    """
    if host.endswith("."):
        return host.removesuffix(".") if _resolves(host) else host
    if host.count(".") > given.most_dots:
        return host
    for domain in given.domains:
        if domain.lower() == "none":
            break
        if _resolves(f"{host}.{domain}."):
            return f"{host}.{domain}"
    if not given.may_fail:
        raise ConfigError(f"none of CanonicalDomains has the host {host}", where=given.where)
    return host


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return True
