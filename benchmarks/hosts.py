"""Hosts for a benchmark: OpenSSH servers on loopback addresses with a common home.

Their TensorFlow environment exists from the start: it is this interpreter. All else is real.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.processes import BenchmarkError
from benchmarks.testbed import sshd
from benchmarks.testbed.farm import equip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Hosts(NamedTuple):
    """Running hosts.

    Attributes:
        ssh_config: address and host keys of each name.
        home: of the user on all of them.
    """

    names: list[str]
    ssh_config: Path
    home: Path


@contextlib.contextmanager
def running(count: int, directory: Path) -> Iterator[Hosts]:
    """Start hosts; at the end stop them and everything that runs on them.

    Raises:
        BenchmarkError: there is no sshd.
    """
    try:
        with sshd.hosts(count, directory, share_home=True) as started:
            home = started.sshds[0].home
            equip(home)
            yield Hosts([host.name for host in started.sshds], started.ssh_config, home)
    except sshd.NotInstalledError as error:
        raise BenchmarkError(str(error)) from None
