"""A real agent on this machine, shared by the tests of trials."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from support import PROJECT, SUPPORT
from support.real_cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{SUPPORT}{os.pathsep}{PROJECT}")  # own_model.py
        shared = Cluster(tmp_path_factory.mktemp("agent") / "agent.log")
    yield shared
    start_s = time.monotonic()
    shared.close()
    assert time.monotonic() - start_s < 5
