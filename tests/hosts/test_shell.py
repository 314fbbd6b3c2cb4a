"""Logins that run no commands, by what their answer shows of the cause."""

from __future__ import annotations

import os
import pwd
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dnnbench.errors import HostError
from dnnbench.hosts.ssh.connection import connect
from dnnbench.hosts.ssh.settings import resolve
from dnnbench.hosts.ssh.shell import refuse_unusable

if TYPE_CHECKING:
    from conftest import StartHosts

    from benchmarks.testbed.sshd import Hosts

NOLOGIN = shutil.which("nologin", path="/usr/sbin:/sbin") or "/usr/sbin/nologin"


def refusal(hosts: Hosts) -> str | None:
    """Return what is found wrong with the shell of a login."""
    target = resolve(hosts.configs, hosts.settings)["node1"]
    with closing(connect(target, hosts.settings)) as connection:
        try:
            refuse_unusable(connection)
        except HostError as error:
            return str(error)
    return None


def test_a_shell_that_runs_commands_is_all_right(start_hosts: StartHosts) -> None:
    assert refusal(start_hosts(1)) is None


@pytest.mark.parametrize(
    ("forced", "line"),
    [
        (
            "internal-sftp",
            "node1: it lets the user transfer files, and nothing else; take ForceCommand",
        ),
        (NOLOGIN, "node1: the user's shell there is nologin; give the user a shell there: chsh"),
        (
            "/bin/false",
            "node1: its shell ends with 1 before it runs a command, and prints nothing;",
        ),
        (
            "echo Backups; echo only",
            "node1: another command runs in place of ours, and prints 'Backups only'; look for",
        ),
    ],
)
def test_a_login_without_commands_is_named_by_its_cause(
    start_hosts: StartHosts, forced: str, line: str
) -> None:
    found = refusal(start_hosts(1, options=[f"ForceCommand {forced}"]))
    assert found
    assert found.startswith(line)


FILES = "the start-up files of the user's shell there, such as .bashrc, must"
ENDS = "before it runs a command, and prints nothing"
SHELL = "give the user a shell there: chsh -s /bin/sh, if it is /bin/false"
PRINTS = "print nothing without a terminal"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("exit 0\n", f"its shell ends with 0 {ENDS}; {FILES} not call exit"),
        ("exit 3\n", f"its shell ends with 3 {ENDS}; {SHELL}; otherwise {FILES} not call exit"),
        ("echo Hi\n", f"its shell prints 'Hi' before every command; {FILES} {PRINTS}"),
    ],
)
def test_start_up_files_that_end_the_shell_or_print_are_named(
    start_hosts: StartHosts, text: str, line: str
) -> None:
    if not pwd.getpwuid(os.getuid()).pw_shell.endswith("/bash"):
        pytest.skip("the shell here is not bash")
    hosts = start_hosts(1)
    (hosts.sshds[0].home / ".bashrc").write_text(text)
    assert refusal(hosts) == f"node1: {line}"
