"""Run a function in a process of its own, in which TensorFlow may be used.

The processes are forked from one that has imported TensorFlow but used nothing of it. So the import
is paid once, and no test sees another one's graphs, servers or seeds.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dnnbench.trial.role_environment import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext

TIMEOUT_S = 120.0

P = ParamSpec("P")
R = TypeVar("R")


def in_child(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a module-level function there; return what it returns, raise what it raises."""
    with ProcessPoolExecutor(1, mp_context=_context()) as pool:
        return pool.submit(function, *args, **kwargs).result(TIMEOUT_S)


@cache
def _context() -> ForkServerContext:
    os.environ.update(ENVIRONMENT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keras", "tensorflow"])
    return context
