"""A stand-in for ``podman exec`` and its like: a program that runs a command "in a container".

A container here is a home directory and a loopback address of its own on this machine, so that
dnnbench takes each for another host.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """\
#!/bin/sh
# usage: in-container NAME PROGRAM [ARGUMENT]...
name=$1
shift
if ! [ -d {directory}/"$name" ]; then
  echo "Error: no container with name \\"$name\\"" >&2
  exit 125
fi
HOME={directory}/"$name" SSH_CONNECTION="127.0.0.1 1 {network}.${{name##*[!0-9]}} 22" exec "$@"
"""


class Containers(NamedTuple):
    """Containers by name, ``node2`` and so on.

    Attributes:
        program: the stand-in.
        homes: name -> home directory.
        network: the first three numbers of their addresses; a name ends with the last one.
    """

    program: Path
    homes: dict[str, Path]
    network: str

    @property
    def template(self) -> str:
        """The setting ``connect`` with which hosts of these names are reached."""
        return f"{self.program} {{name}} {{command}}"

    def address(self, name: str) -> str:
        """Return a container's address."""
        return f"{self.network}.{name.removeprefix('node')}"


def containers(count: int, directory: Path) -> Containers:
    """Make containers ``node2``, ``node3`` and so on, which have addresses of this process."""
    network = f"127.{1 + os.getpid() % 254}.{os.getpid() // 254 % 256}"
    homes = {f"node{number}": directory / f"node{number}" for number in range(2, 2 + count)}
    for home in homes.values():
        home.mkdir(parents=True)
    program = directory / "in-container"
    program.write_text(_PROGRAM.format(directory=directory, network=network))
    program.chmod(0o755)
    return Containers(program, homes, network)
