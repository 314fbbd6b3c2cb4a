"""Hosts for a benchmark: the tests' OpenSSH servers on loopback addresses with a common home.

Their TensorFlow environment exists from the start: it is this interpreter. All else is real.
"""

from __future__ import annotations

import contextlib
import platform
import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.processes import ROOT, BenchmarkError
from dnnbench.hosts.onhost.directory import mark_complete
from dnnbench.hosts.provision.wanted import environment_of

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
        BenchmarkError: there is no sshd, or this checkout has no tests.
    """
    sys.path.append(str(ROOT / "tests"))
    try:
        from support import sshd
    except ImportError as error:
        raise BenchmarkError(f"the tests of a checkout are needed: {error}") from None
    finally:
        sys.path.pop()
    try:
        with sshd.hosts(count, directory, share_home=True) as started:
            home = started.sshds[0].home
            _equip(home)
            yield Hosts([host.name for host in started.sshds], started.ssh_config, home)
    except sshd.NotInstalledError as error:
        raise BenchmarkError(str(error)) from None


def _equip(home: Path) -> None:
    key, _ = environment_of(platform.machine())
    environment = home / ".dnnbench" / "env" / key
    python = environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    mark_complete(str(environment), {})
