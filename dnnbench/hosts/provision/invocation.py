"""Shell lines that run the tools on a host, after a check of what they are.

The tools lie in a directory that is known to everybody, so a host's other users may have put
something else in their place. Python itself reads the file, compares its SHA-256 with the one that
is wanted here, and runs what it has read: whoever owns the file, what runs is ours. Whether the
directory is to be used at all, the tools then check.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dnnbench.hosts.provision.bundle import Bundle

MISSING: Final = 66
"""Exit code where the right tools are not there; EX_NOINPUT of sysexits.h."""
FROM_FILE, FROM_INPUT = "file", "input"
_NAME_LENGTH: Final = 16
_USERS_HOME: Final = re.compile(r"~[\w.-]*(?=/|$)", re.ASCII)
# For whatever Python is there. Of the modules with SHA-256, the first two (since 3.12, before) are
# there without OpenSSL, which takes 5 ms to load. O_NONBLOCK: the file may be a pipe of somebody's.
_PROGRAM: Final = f"""\
# dnnbench: run the tools if their SHA-256 is right
import os, sys
path, digest, size, source = sys.argv[1:5]
for name in ("_sha2", "_sha256", "hashlib"):
    try:
        sha256 = __import__(name).sha256
        break
    except ImportError:
        pass
tools = b""
try:
    fd = 0 if source == "{FROM_INPUT}" else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    while len(tools) < int(size):
        chunk = os.read(fd, int(size) - len(tools))
        if not chunk:
            break
        tools += chunk
    if fd:
        os.close(fd)
except OSError:
    pass
if not sha256(tools).hexdigest() == digest:
    sys.exit({MISSING})
if not fd:
    pushed = tools
sys.argv = [path] + sys.argv[5:]
exec(compile(tools, "<dnnbench>", "exec"))
"""


def command_line(
    python: str,
    directory: str,
    bundle: Bundle,
    command: str,
    *arguments: str,
    source: str = FROM_FILE,
) -> str:
    """Write the shell's line that runs a command of the tools.

    Python leaves out what is installed there beside it (-I, -S): the tools need none of that, and
    start sooner.

    Args:
        python: on the host.
        directory: dnnbench's, on the host.
        bundle: the tools.
        command: one of theirs.
        arguments: of the command.
        source: `FROM_FILE` in the directory, or `FROM_INPUT`: they are the first bytes of standard
            input, are put into the directory, and then run the command.
    """
    path = shell_path(f"{directory}/tools/{bundle.digest[:_NAME_LENGTH]}.py")
    # In one line, because csh has no newline in quotes; without "!", which csh expands in them.
    program = f"exec({json.dumps(_PROGRAM)})"
    words = [
        *(shlex.quote(python), "-IS", "-c", shlex.quote(program)),
        *(path, bundle.digest, str(len(bundle.content)), source),
        *(command, *map(shlex.quote, arguments)),
    ]
    # The user's own shell may be another one, such as csh.
    return f"exec sh -c {shlex.quote('exec ' + ' '.join(words))}"


def shell_path(path: str) -> str:
    """Quote a path on a host; ``~`` and ``~name`` stay, for the host's shell to expand."""
    home = _USERS_HOME.match(path)
    if home is None:
        return shlex.quote(path)
    rest = path[home.end() + 1 :]
    return f"{home.group()}/{shlex.quote(rest)}" if rest else home.group()
