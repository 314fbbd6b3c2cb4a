"""Admit only a cluster's own hosts to its ports while it is running (nftables).

TensorFlow's servers listen on all addresses without authentication. Each cluster has a table of its
own and leaves existing rules unchanged: a connection has to pass both.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from .wire import HostProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PREFIX = "dnnbench_"
_FAMILIES = {4: "ip", 6: "ip6"}
_DEADLINE_S = 10.0
_PATH = "/usr/sbin:/sbin:/usr/local/sbin"  # where nft is; a user's own search path may lack it


def script(cluster: str, ports: Sequence[int], addresses: Iterable[str]) -> str:
    """Return the rules for ``nft -f``; they replace the cluster's previous ones.

    Only packets that open a connection are filtered, so that replies to the host's own connections
    pass even if their port happens to be in the range. Loopback, and with it every address of the
    host itself, is admitted.

    Args:
        cluster: a name for the rules: one cluster on one host.
        ports: the ports that it holds here.
        addresses: the addresses of its hosts, IPv4 or IPv6.
    """
    given = sorted({ipaddress.ip_address(text) for text in addresses}, key=lambda a: (a.version, a))
    rules = ['iifname "lo" accept', "tcp flags & (fin | syn | rst | ack) != syn accept"]
    listed = ", ".join(map(str, sorted(ports)))
    for version, family in _FAMILIES.items():
        members = ", ".join(str(a) for a in given if a.version == version)
        if members:
            rules.append(f"tcp dport {{ {listed} }} {family} saddr {{ {members} }} accept")
    rules.append(f"tcp dport {{ {listed} }} drop")
    body = "\n".join(f"    {rule}" for rule in rules)
    return f"""{_removal(cluster)}
table inet {_table(cluster)} {{
  chain input {{
    type filter hook input priority -10; policy accept;
{body}
  }}
}}
"""


def admit(cluster: str, ports: Sequence[int], addresses: Iterable[str]) -> None:
    """Allow only these addresses and this host itself to connect to these ports.

    Raises:
        HostProblem: nft is missing, or this user may not use it.
    """
    _nft(["-f", "-"], script(cluster, ports, addresses))


def lift(cluster: str) -> None:
    """Remove a cluster's rules; harmless if there are none.

    Raises:
        HostProblem: as `admit`.
    """
    _nft(["-f", "-"], _removal(cluster))


def tables() -> list[str]:
    """Return the clusters that have rules here.

    Raises:
        HostProblem: as `admit`.
    """
    found = re.findall(rf"^table inet {_PREFIX}(\w+)$", _nft(["list", "tables"], ""), re.MULTILINE)
    return [_decoded(name) for name in found]


def _removal(cluster: str) -> str:
    # Created first if missing, because nft refuses to delete a table that does not exist.
    return f"table inet {_table(cluster)}\ndelete table inet {_table(cluster)}\n"


def _table(cluster: str) -> str:
    """Return the name of a cluster's table: letters and digits; all else as ``_`` and hex."""
    encoded = re.sub(rb"[^A-Za-z0-9]", lambda m: b"_%02x" % ord(m.group()), cluster.encode())
    return _PREFIX + encoded.decode()


def _decoded(name: str) -> str:
    plain = re.sub(rb"_([0-9a-f]{2})", lambda m: bytes([int(m.group(1), 16)]), name.encode())
    return plain.decode(errors="replace")


def _nft(arguments: list[str], given: str) -> str:
    """Run nft, with sudo if that needs no password; return its output."""
    path = os.pathsep.join([os.environ.get("PATH", ""), _PATH])
    nft = shutil.which("nft", path=path)
    if nft is None:
        raise HostProblem(
            "the ports cannot be protected: nft is not installed",
            "install nftables there, or set [cluster] firewall = false",
        )
    commands = [[nft, *arguments]]
    sudo = shutil.which("sudo", path=path)
    if os.getuid() and sudo:
        commands.append([sudo, "-n", nft, *arguments])
    failure = ""
    for command in commands:
        try:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                text=True,
                timeout=_DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            failure = f"nft did not end in {_DEADLINE_S:.0f} s"
            continue
        if done.returncode == 0:
            return done.stdout
        failure = (done.stderr.strip().splitlines() or [f"nft ended with {done.returncode}"])[0]
    raise HostProblem(
        f"the ports cannot be protected: {failure}",
        "allow this user to run `sudo -n nft` there, or set [cluster] firewall = false",
    )
