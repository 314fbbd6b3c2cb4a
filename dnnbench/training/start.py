"""Start a module of the training side where nothing that the user has can get in its way.

``python -S -m dnnbench.training.start MODULE BEFORE AFTER`` calls the ``main`` of a module with a
file descriptor to write to: the one that was standard output. Whatever else writes there, such as a
library while it is imported, writes to the log.

Python's own library comes first on the path, then the directories ``BEFORE``, the installed
packages, and the directories ``AFTER``, where a user's own model may be: none of the user's files
replaces a module of Python or of a library. ``-S`` leaves this to be done here.
"""

from __future__ import annotations

import importlib
import os
import resource
import site
import sys
from typing import Final

_LEAST: Final = (
    (resource.RLIMIT_NOFILE, 256, "open files", "ulimit -n"),
    (resource.RLIMIT_NPROC, 256, "processes and threads of the user", "ulimit -u"),
    (resource.RLIMIT_AS, 4 << 30, "bytes of virtual memory", "ulimit -v, in KiB"),
    (resource.RLIMIT_DATA, 2 << 30, "bytes of data", "ulimit -d, in KiB"),
    (resource.RLIMIT_STACK, 1 << 20, "bytes of stack", "ulimit -s, in KiB"),
)
"""Limit of the kernel, least value that TensorFlow starts with, name, and how a shell sets it."""


def main() -> None:
    """See the module."""
    module, before, after = sys.argv[1:4]
    answers_fd = os.dup(1)
    os.dup2(2, 1)
    _raise_limits()
    del sys.path[0]  # the current directory, as `-m` has it
    sys.path += _directories(before)
    site.main()
    sys.path += _directories(after)
    importlib.import_module(module).main(answers_fd)


def _directories(text: str) -> list[str]:
    return [path for path in text.split(os.pathsep) if path]


def _raise_limits() -> None:
    """Raise limits as far as they go; end the process with a line if one is too low."""
    for limit, least, name, command in _LEAST:
        soft, hard = resource.getrlimit(limit)
        if limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC) and soft != hard:
            resource.setrlimit(limit, (hard, hard))
            soft = hard
        if soft not in (resource.RLIM_INFINITY, -1) and soft < least:
            sys.exit(f"expected a limit of at least {least} {name}, found {soft}: see {command}")


if __name__ == "__main__":
    main()
