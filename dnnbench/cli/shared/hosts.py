"""Steps shared by the commands for hosts: read settings, connect, report missing hosts."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError
from dnnbench.hosts.connected import ConnectedHosts
from dnnbench.settings.load import load
from dnnbench.text.words import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.errors import HostError
    from dnnbench.settings.hostlists.sources import HostsChoice
    from dnnbench.settings.schema import Config, Resolved


def load_with_hosts(
    config_path: Path | None, settings: Mapping[str, str | None], hosts: HostsChoice
) -> Resolved:
    """Read the settings of a command that needs hosts.

    Raises:
        ConfigError: there is no host, or as `dnnbench.settings.load.load`.
    """
    resolved = load(config_path, os.environ, settings, hosts)
    if not resolved.config.hosts:
        raise ConfigError(
            "there are no hosts",
            where="[[hosts]]",
            remedy="list them in dnnbench.toml, or name them with --hosts",
        )
    return resolved


@contextmanager
def reached(config: Config, printer: Printer) -> Iterator[ConnectedHosts]:
    """Connect to all hosts; the result also knows those that are missing.

    Raises:
        HostError: no host could be reached.
    """
    with ConnectedHosts(config) as reach:
        printer.note(f"connecting to {count_text(len(config.hosts), 'host')}")
        reach.open()
        if not reach.hosts:
            refuse_missing(reach.missing, printer)
        yield reach


def refuse_missing(missing: Mapping[str, HostError], printer: Printer) -> None:
    """Print one error line per missing host, and end the command with the last one's error.

    Raises:
        HostError: a host is missing.
    """
    if not missing:
        return
    *others, last = missing.values()
    for error in others:
        printer.error(f"error: {error}")
    raise last
