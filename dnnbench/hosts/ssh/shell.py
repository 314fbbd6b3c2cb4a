"""Find out why a login runs no commands: no shell, a forced command, or start-up files."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from dnnbench.errors import HostError

if TYPE_CHECKING:
    from dnnbench.hosts.connectors.interface import Connection

_SHOWN_CHARACTERS: Final = 80
_START_UP_FILES: Final = "the start-up files of the user's shell there, such as .bashrc, must"
_GIVE_SHELL: Final = "give the user a shell there: chsh -s /bin/sh"
_SFTP_ONLY: Final = "take ForceCommand internal-sftp out of its sshd_config for this user"
_KNOWN: Final = (
    ("sftp connections only", "it lets the user transfer files, and nothing else", _SFTP_ONLY),
    ("account is currently not available", "the user's shell there is nologin", _GIVE_SHELL),
)
"""Output of a login that runs no commands (OpenSSH, util-linux) -> problem and remedy."""


def refuse_unusable(connection: Connection) -> None:
    """Verify that the shell of a login runs a command and prints nothing else.

    Raises:
        HostError: it does not; with the cause that its output suggests.
    """
    word = f"dnnbench-{uuid.uuid4().hex}"
    done = connection.run(f"echo {word}", name="echo")
    lines = done.stdout.decode(errors="replace").split("\n")
    if word in lines:
        lines.remove(word)
        if extra := "".join(lines).strip():
            problem = f"its shell prints {_shortened(extra)!r} before every command"
            remedy = f"{_START_UP_FILES} print nothing without a terminal"
            raise HostError(problem, where=connection.host, remedy=remedy)
        return
    answer = (done.stdout + done.stderr).decode(errors="replace").strip()
    for text, problem, remedy in _KNOWN:
        if text in answer:
            raise HostError(problem, where=connection.host, remedy=remedy)
    if answer:
        raise HostError(
            f"another command runs in place of ours, and prints {_shortened(answer)!r}",
            where=connection.host,
            remedy="look for ForceCommand in its sshd_config, command= in ~/.ssh/authorized_keys "
            "there, and the user's shell in /etc/passwd",
        )
    remedy = f"{_START_UP_FILES} not call exit"
    if done.code:
        remedy = f"{_GIVE_SHELL}, if it is /bin/false; otherwise {remedy}"
    raise HostError(
        f"its shell ends with {done.code} before it runs a command, and prints nothing",
        where=connection.host,
        remedy=remedy,
    )


def _shortened(text: str) -> str:
    return " ".join(text.split())[:_SHOWN_CHARACTERS]
