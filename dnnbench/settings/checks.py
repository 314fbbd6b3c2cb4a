"""Check what one type cannot: names, and settings that must hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.schema import settings
from dnnbench.settings.textfile import local_path
from dnnbench.settings.values import is_path
from dnnbench.text.safe import HIDDEN
from dnnbench.trial.models import MODELS
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.settings.schema import Config, SweepConfig

FIRST_PORT, LAST_PORT = 1024, 65535
"""Ports that a user who is not root may listen on."""
MOST_TRIALS = 10_000
"""Trials of a sweep; the paper profile makes 120."""
_INDEX_SCHEMES = ("https", "http", "file")


def check_values(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse what the type of a single value cannot, and values that exclude each other."""
    for key, field in settings().items():
        value = getattr(getattr(config, field.table), field.name)
        if value is not None and is_path(field.kind):
            local_path(value, origins[key])
    check_model(config.train.model, origins["train.model"])
    if config.provision.index_url is not None:
        check_index_url(config.provision.index_url, origins["provision.index_url"])
    check_sweep(config.sweep, origins)
    check_backup_workers(config, origins["protocol.backup_workers"])
    check_ports(config, origins["cluster.ports"])


def check_model(name: str, where: str) -> None:
    """Refuse a model that no host can build; a host looks for a user's own module itself."""
    module, colon, function = name.partition(":")
    parts = [*module.split("."), function]
    if name not in MODELS and not (colon and all(part.isidentifier() for part in parts)):
        raise ConfigError(
            f"there is no model {name!r}, expected {', '.join(MODELS)} or module:function",
            where=where,
            remedy=nearest(name, MODELS),
        )


def check_index_url(url: str, where: str) -> None:
    """Refuse what is not a URL, and one whose login was hidden when it was stored or shown.

    No message repeats it: where a URL is malformed, what is a login in it cannot be told.
    """
    from urllib.parse import urlsplit  # most settings have no URL

    try:
        parts = urlsplit(url)
        is_url = parts.scheme in _INDEX_SCHEMES and bool(parts.netloc or parts.path)
        login, _, _ = parts.netloc.rpartition("@")
        parts.port  # noqa: B018 - raises ValueError where it is not a number
    except ValueError:
        is_url, login = False, ""
    if not is_url:
        raise ConfigError(
            "expected a URL such as https://host/simple, got something else (not shown, for it "
            "may hold a secret)",
            where=where,
            remedy="write /, @ and : in a password as %2F, %40 and %3A",
        )
    if login == HIDDEN:
        raise ConfigError(
            f"the login of this URL is {HIDDEN}, as it is stored and shown",
            where=where,
            remedy="give the login itself",
        )


def check_sweep(sweep: SweepConfig, origins: Mapping[str, str]) -> None:
    """Refuse lists that repeat a value, node counts that leave no worker, and too many trials."""
    for key, values in (("nodes", sweep.nodes), ("protocols", sweep.protocols)):
        if len(set(values)) < len(values):
            where = origins[f"sweep.{key}"]
            raise ConfigError(f"[sweep] {key} names a value twice, got {list(values)}", where=where)
    for cell in sweep.cells:
        if cell.nodes <= sweep.servers_of(cell):
            nodes, servers = origins["sweep.nodes"], origins["sweep.parameter_servers"]
            raise ConfigError(
                f"[sweep] nodes = {cell.nodes} leaves no worker beside "
                f"parameter_servers = {sweep.parameter_servers}, which {cell.protocol} needs",
                where=servers if nodes == "default" else nodes,
                remedy="a trial needs at least parameter_servers + 1 nodes",
            )
    trials = len(sweep.cells) * sweep.repeats
    if trials > MOST_TRIALS:
        given = [origins[f"sweep.{key}"] for key in ("repeats", "nodes", "protocols")]
        raise ConfigError(
            f"expected at most {MOST_TRIALS:,} trials, got {trials:,}: {len(sweep.cells)} cells "
            f"(node counts x protocols) x {sweep.repeats} repeats",
            where=next((origin for origin in given if origin != "default"), "[sweep]"),
        )


def check_backup_workers(config: Config, where: str) -> None:
    """Refuse backup workers that leave no gradient to apply."""
    backups = config.protocol.backup_workers
    for cell in config.sweep.cells:
        workers = cell.nodes - config.sweep.servers_of(cell)
        if find_protocol(cell.protocol).synchronous and backups >= workers:
            raise ConfigError(
                f"[protocol] backup_workers: expected fewer than the {workers} workers of "
                f"{cell}, got {backups}",
                where=where,
            )


def check_ports(config: Config, where: str) -> None:
    """Refuse a range of ports that is not one, or too small for the largest trial."""
    first, last = config.cluster.port_range
    most = config.sweep.largest.nodes
    problem = None
    if not FIRST_PORT <= first <= last <= LAST_PORT:
        problem = f"the first not above the last, both from {FIRST_PORT} to {LAST_PORT}"
    elif config.hosts and last - first + 1 < most:
        # Hosts may be one machine under several names: all tasks of a trial then share the range.
        problem = f"at least {most} ports, one for each node of the largest trial"
    if problem:
        raise ConfigError(f"[cluster] ports: expected {problem}, got {first}-{last}", where=where)
