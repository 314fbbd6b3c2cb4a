"""Three tiers of tests, each a folder: what a test starts decides where it stands.

- ``unit``: functions and objects of the folder of the same name in ``dnnbench``. No process but
  this one and, here and there, a Python or a shell that shows something and ends. Under 30 s.
- ``hosts``: SSH servers, keepers, agents without TensorFlow, firewall rules, virtual environments,
  as processes on loopback addresses. Without OpenSSH, or the rights for namespaces, what needs them
  is skipped; with ``CI=true`` in the environment it fails.
- ``cluster``: TensorFlow for real, up to whole sweeps over SSH.

``support`` has what they are made of: `stand_in` (containers), `slurm` (a cluster with Slurm),
`drill` (hosts with a user's commands), `kept` (keepers), `fake_agent` and the agents' scripts,
`factories` (values). ``benchmarks/testbed`` has what benchmarks need, too: `sshd` (SSH servers),
`namespaces` (networks of their own), `farm` (both with a user's commands), `processes` (waiting for
an end).
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import pytest

from benchmarks.testbed import sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Before NumPy is imported: a small matrix product takes ten times as long on two threads, which
# wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell has what it starts in the background ignore Ctrl-C, and so would what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's affair, and that of what else runs on it.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


class StartHosts(Protocol):
    def __call__(self, count: int, **options: Any) -> sshd.Hosts: ...


@pytest.fixture
def start_hosts(tmp_path: Path) -> Iterator[StartHosts]:
    """Start any number of real SSH servers, see `sshd.hosts`; they end with the test."""
    with contextlib.ExitStack() as stack:
        started = 0

        def start(count: int, **options: Any) -> sshd.Hosts:
            nonlocal started
            options = {"first": 2 + started, **options}
            started += count
            directory = tmp_path / f"hosts{options['first']}"
            try:
                return stack.enter_context(sshd.hosts(count, directory, **options))
            except sshd.NotInstalledError as error:
                if os.environ.get("CI") == "true":
                    pytest.fail(str(error))
                pytest.skip(str(error))

        yield start
