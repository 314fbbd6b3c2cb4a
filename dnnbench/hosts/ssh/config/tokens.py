"""Fill in what the values of a configuration stand for: ``~``, ``%h`` and ``${NAME}``.

Source: TOKENS and ENVIRONMENT VARIABLES in ssh_config(5).
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from dnnbench.hosts.ssh.config.lines import Line

HOST_ONLY: Final = frozenset("h")
"""Those of HostName."""
PROXY: Final = frozenset("hnpr")
"""Those of ProxyCommand and ProxyJump."""
FILES: Final = frozenset("CdhijkLlnpru")
"""Those of files and of ``Match exec``."""
_TOKEN: Final = re.compile(r"%(.?)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


class Names(NamedTuple):
    """What tokens stand for.

    Attributes:
        host: after HostName.
        original: as the user would name it to ssh.
        alias: HostKeyAlias.
        jump: ProxyJump as it is written, or nothing.
    """

    host: str
    original: str
    port: int
    user: str
    local_user: str
    alias: str = ""
    jump: str = ""

    def token(self, letter: str) -> str:
        """Return what a token stands for."""
        here = socket.gethostname()
        connection = f"{here}{self.host}{self.port}{self.user}{self.jump}"
        return {
            "C": hashlib.sha1(connection.encode(), usedforsecurity=False).hexdigest(),
            "d": str(Path.home()),
            "h": self.host,
            "i": str(os.getuid()),
            "j": self.jump,
            "k": self.alias or self.original,
            "L": here.partition(".")[0],
            "l": here,
            "n": self.original,
            "p": str(self.port),
            "r": self.user,
            "u": self.local_user,
        }[letter]


def with_tokens(text: str, names: Names, allowed: frozenset[str], line: Line) -> str:
    """Fill tokens in.

    Raises:
        ConfigError: one is not allowed here.
    """

    def fill(match: re.Match[str]) -> str:
        letter = match[1]
        if letter == "%":
            return letter
        if letter not in allowed:
            raise line.bad(f"the token %{letter} has no meaning here")
        return names.token(letter)

    return _TOKEN.sub(fill, text)


def as_path(text: str, names: Names, line: Line) -> str:
    """Fill ``~``, tokens and environment variables in.

    Raises:
        ConfigError: a token has no meaning, or a variable is not set.
    """

    def fill(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise line.bad(f"the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    # In the end, as what a variable holds is not to be looked at again.
    return _VARIABLE.sub(fill, with_tokens(expanded_home(text, line), names, FILES, line))


def expanded_home(text: str, line: Line) -> str:
    """Fill ``~`` or ``~user`` in.

    Raises:
        ConfigError: there is no such user.
    """
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise line.bad("there is no such user") from None
