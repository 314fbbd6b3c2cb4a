"""The table of commands, and the program that runs one of them.

A command is a function in a module of its own, which is imported on demand: ``facts`` must not pay
for ``install``. It takes the request and returns one answer, or yields several that are written one
by one, or takes over the streams and returns None. It raises :class:`~.wire.HostProblem` for
problems that the user can solve; any other exception is a bug, and its traceback goes to standard
error.
"""

from __future__ import annotations

import importlib
import os
import sys

from . import wire
from .deadline import deadline

# Function, and its deadline in seconds, after which no caller waits any more. 0: `probe` has a
# deadline of its own, and a relay ends with its keeper or with its reader.
COMMANDS = {
    "facts": ("facts.run", 60),
    "install": ("install.run", 1800),
    "remove": ("remove.run", 180),
    "start": ("start.run", 60),
    "relay": ("relay.run", 0),
    "status": ("status_stop.status", 60),
    "stop": ("status_stop.stop", 60),
    "probe": ("probe.run", 0),
}
# Their standard input is a dialogue from the first byte, so the request is in the arguments.
DIALOGUES = {"relay": ("socket",), "probe": ()}

EXIT_PROBLEM = 1
EXIT_USAGE = 64  # not 2, with which Python exits for an unknown option


def main(arguments: list[str], pushed: bytes | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the command's name, followed by the request if it is a dialogue.
        pushed: these tools, if they were just sent and are to be stored at ``sys.argv[0]``.
    """
    if not arguments or arguments[0] not in COMMANDS:
        sys.stderr.write(f"usage: {{{','.join(COMMANDS)}}} <request.json\n")
        return EXIT_USAGE
    name, *values = arguments
    os.umask(0o077)  # all files are for this user alone
    function, most_s = COMMANDS[name]
    try:
        with deadline(most_s, f"`{name}`"):
            _carry_out(name, function, values, pushed)
    except wire.HostProblem as error:
        return _refuse(error)
    except BrokenPipeError:
        # The reader is gone; Python would fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PROBLEM
    except OSError as error:
        problem = wire.problem_of(error)
        if problem is None:
            raise
        return _refuse(problem)
    return 0


def _carry_out(name: str, function: str, values: list[str], pushed: bytes | None) -> None:
    if pushed:
        from . import store

        store.keep(sys.argv[0], pushed)
    request = dict(zip(DIALOGUES[name], values)) if name in DIALOGUES else wire.read_request()
    module, attribute = function.split(".")
    run = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
    result = run(request)
    for answer in [result] if isinstance(result, dict) else result or ():
        wire.write(answer)


def _refuse(error: wire.HostProblem) -> int:
    wire.write({"error": vars(error)})
    return EXIT_PROBLEM


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
