"""Shell command lines that verify the tools on a host and run them.

The tools are in a directory whose path is not secret, so another user of the host may have put a
different file there. Python reads the file, compares its SHA-256 with the expected one, and runs
the bytes that it has read: no matter who owns the file, only our program runs. The tools check
then whether the directory is safe to use.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dnnbench.hosts.provision.bundle import Bundle

MISSING: Final = 66
"""Exit code if the right tools are not there; EX_NOINPUT of sysexits.h."""
FROM_FILE, FROM_INPUT = "file", "input"
_NAME_LENGTH: Final = 16
_USERS_HOME: Final = re.compile(r"~[\w.-]*(?=/|$)", re.ASCII)
# For any Python that a host may have. Of the modules with SHA-256, the first two (from 3.12 on, and
# before) do not load OpenSSL, which takes 5 ms. O_NONBLOCK: another user may have put a pipe there.
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
    """Return the shell command line that runs a command of the tools.

    Python ignores installed packages (-I, -S): the tools need none, and start faster.

    Args:
        python: interpreter on the host.
        directory: dnnbench's directory on the host.
        bundle: the tools.
        command: name of the command.
        arguments: arguments of the command.
        source: `FROM_FILE` for tools in the directory; `FROM_INPUT` for tools that are the first
            bytes of standard input, which are also stored in the directory.
    """
    path = shell_path(f"{directory}/tools/{bundle.digest[:_NAME_LENGTH]}.py")
    # In one line, because csh allows no newline in quotes; without "!", which csh expands there.
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
