from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from support import sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
