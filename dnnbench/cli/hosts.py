"""``dnnbench hosts``: commands about the hosts themselves, independent of any sweep."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnbench.cli.shared.options import common_options, hosts_options
from dnnbench.errors import EXIT_OK, ConfigError, HostError
from dnnbench.settings.hostlists.connect import SSH, kind_of
from dnnbench.settings.load import load
from dnnbench.text.safe import one_line
from dnnbench.text.words import count_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.hosts.ssh.key_survey import Shown
    from dnnbench.hosts.ssh.known_hosts import HostKey
    from dnnbench.settings.hostlists.sources import HostsChoice


@click.group("hosts", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Manage the SSH keys of hosts."""


@command.command("trust")
@click.option("-y", "--yes", is_flag=True, help="Do not ask: you have compared the fingerprints.")
@hosts_options()
@common_options()
@click.pass_context
def trust(ctx: click.Context, *, yes: bool, hosts: HostsChoice, config_path: Path | None) -> None:
    """Trust the keys of unknown hosts.

    Shows the fingerprint of each key, asks once, and adds the keys to known_hosts. Compare the
    fingerprints with the output of `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host.
    A key that has changed is never trusted.
    """
    from dnnbench.hosts.ssh.key_survey import look_at  # these import paramiko, which is slow
    from dnnbench.hosts.ssh.known_hosts import add
    from dnnbench.hosts.ssh.settings import resolve

    printer: Printer = ctx.obj
    config = load(config_path, os.environ, {}, hosts).config
    if not config.hosts:
        remedy = "list them in dnnbench.toml, or name them with --hosts"
        raise ConfigError("there are no hosts", where="[[hosts]]", remedy=remedy)
    over_ssh = [host for host in config.hosts if kind_of(host.connect) == SSH]
    if len(over_ssh) < len(config.hosts):
        others = count_text(len(config.hosts) - len(over_ssh), "host")
        printer.note(f"without SSH, and so without keys: {others}")
    code = EXIT_OK
    targets = list(resolve(over_ssh, config.ssh).values())
    while targets:  # again only for hosts behind a jump host that had to be trusted first
        survey = look_at(targets, config.ssh)
        if survey.known:
            printer.note(f"already trusted: {count_text(len(survey.known), 'key')}")
        for error in survey.failures.values():
            printer.error(f"error: {error}")
            code = error.exit_code
        if survey.unknown:
            printer.result(_listing(survey.unknown))
            if not yes and not _confirmed():
                ctx.exit(HostError.exit_code)
            for file, keys in _by_file(survey.unknown).items():
                add(Path(file), keys)
                printer.note(f"added {count_text(len(keys), 'key')} to {file}")
        targets = survey.behind
    ctx.exit(code)


def _by_file(unknown: Iterable[Shown]) -> dict[str, list[tuple[str, HostKey]]]:
    """Group keys by the known_hosts file that their host is looked up in."""
    found: dict[str, list[tuple[str, HostKey]]] = {}
    for target, key in unknown:
        found.setdefault(target.trust_file, []).append((target.known_as, key))
    return found


def _confirmed() -> bool:
    """Ask once about all keys shown.

    Raises:
        ConfigError: nobody can answer, as in a script.
    """
    try:
        return click.confirm("Are these the right keys?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise  # Ctrl-C
        click.echo(err=True)
        remedy = "compare the fingerprints, then use --yes"
        raise ConfigError("no answer", where="standard input", remedy=remedy) from None


def _listing(unknown: Iterable[Shown]) -> str:
    """Lay out keys on two lines each: a wrapped fingerprint is hard to compare."""
    lines = ["", "Keys of unknown hosts"]
    for shown in unknown:
        name, known_as = shown.target.name, shown.target.known_as
        lines.append(one_line(name if name == known_as else f"{name}  {known_as}"))
        lines.append(f"    {one_line(f'{shown.key.name} {shown.key.fingerprint}')}")
    return "\n".join(lines) + "\n"
