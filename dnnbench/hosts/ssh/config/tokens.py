"""Expand ``~``, tokens such as ``%h``, and ``${NAME}`` in the values of a configuration.

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
"""Tokens of HostName."""
PROXY: Final = frozenset("hnpr")
"""Tokens of ProxyCommand and ProxyJump."""
FILES: Final = frozenset("CdhijkLlnpru")
"""Tokens of file names and of ``Match exec``."""
_TOKEN: Final = re.compile(r"%(.?)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


class Names(NamedTuple):
    """The values of tokens.

    Attributes:
        host: the name after HostName.
        original: the name as the user would give it to ssh.
        alias: HostKeyAlias, or empty.
        jump: ProxyJump as written, or empty.
    """

    host: str
    original: str
    port: int
    user: str
    local_user: str
    alias: str = ""
    jump: str = ""

    def token(self, letter: str) -> str:
        """Return the value of a token."""
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
    """Replace tokens by their values.

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
    """Expand ``~``, tokens and environment variables.

    Raises:
        ConfigError: a token has no meaning, or a variable is not set.
    """

    def fill(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise line.bad(f"the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    # Variables last: their values must not be expanded again.
    return _VARIABLE.sub(fill, with_tokens(expanded_home(text, line), names, FILES, line))


def expanded_home(text: str, line: Line) -> str:
    """Expand ``~`` or ``~user``.

    Raises:
        ConfigError: there is no such user.
    """
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise line.bad("there is no such user") from None
