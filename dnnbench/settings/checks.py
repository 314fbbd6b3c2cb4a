"""Checks that a type cannot express: names, and settings that depend on each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings import grid
from dnnbench.settings.schema import settings
from dnnbench.settings.textfile import local_path
from dnnbench.settings.values import is_path
from dnnbench.text.safe import HIDDEN
from dnnbench.text.words import count_text
from dnnbench.trial.models import MODELS
from dnnbench.trial.protocols import find_protocol, why_every_step
from dnnbench.trial.role_environment import reason_not_passed
from dnnbench.trial.spec import whole_intervals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.settings.schema import Config, SweepConfig

FIRST_PORT, LAST_PORT = 1024, 65535
"""Ports that an unprivileged user may listen on."""
MOST_TRIALS = 10_000
"""Most trials of a sweep; the paper profile runs 120."""
LONGEST_NAME = 200
"""Of a trial: it names a directory, and file systems end at 255."""
MOST_STEPS_PER_RUN = 1000
"""Most steps that are unrolled into one graph."""
_INDEX_SCHEMES = ("https", "http", "file")
_ODD = re.compile(r'[\s"\\]')
"""Characters that no URL has, and at which `redacted` takes a login to end."""


def check_values(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse values that their types cannot refuse, and values that exclude each other."""
    for key, field in settings().items():
        value = getattr(getattr(config, field.table), field.name)
        if value is not None and is_path(field.kind):
            local_path(value, origins[key])
    check_model(config.train.model, origins["train.model"])
    if config.provision.index_url is not None:
        check_index_url(config.provision.index_url, origins["provision.index_url"])
    check_sweep(config.sweep, origins)
    check_grid(config, origins)
    for combination in grid.combinations(config):
        check_combinations(combination, origins)
        check_intervals(combination, origins)
        check_warm_start(combination, origins["train.warm_start_epochs"])
        check_pace(combination, origins)
        check_backup_workers(combination, origins["protocol.backup_workers"])
    check_ports(config, origins["cluster.ports"])
    check_environment(config.cluster.environment, origins["cluster.environment"])


def check_environment(entries: Sequence[str], where: str) -> None:
    """Refuse variables that are given twice, or that dnnbench must set itself."""
    seen = set()
    for entry in entries:
        name = entry.partition("=")[0]
        if name in seen:
            raise ConfigError(f"[cluster] environment names {name} twice", where=where)
        seen.add(name)
        if reason := reason_not_passed(name):
            problem = f"[cluster] environment: {name} cannot be passed on: {reason}"
            raise ConfigError(problem, where=where, remedy="leave it out")


NO_GPU: Final = "there is no NVIDIA GPU whose driver is loaded (no /dev/nvidia0)"
GPU_REMEDY: Final = "choose --device cpu, or hosts that all have one"


def check_device(config: Config, where: str, gpus: int) -> None:
    """Refuse to compute on a GPU of this machine that it has not; hosts answer for themselves.

    Raises:
        ConfigError: a sweep on this machine is to use a GPU, and there are none.
    """
    if config.train.device == "gpu" and not config.hosts and not gpus:
        raise ConfigError(NO_GPU, where=where, remedy=GPU_REMEDY)


def check_model(name: str, where: str) -> None:
    """Refuse a name that is neither a known model nor module:function; hosts check the module."""
    module, colon, function = name.partition(":")
    parts = [*module.split("."), function]
    if name not in MODELS and not (colon and all(part.isidentifier() for part in parts)):
        raise ConfigError(
            f"there is no model {name!r}, expected {', '.join(MODELS)} or module:function",
            where=where,
            remedy=nearest(name, MODELS),
        )


def check_index_url(url: str, where: str) -> None:
    """Refuse anything but a URL, and a URL whose login was hidden when it was stored or shown.

    What is accepted has its secrets, if any, in a login that `redacted` recognizes. No message
    repeats the URL: the login in a malformed one cannot be recognized.
    """
    from urllib.parse import urlsplit  # most commands check no URL

    try:
        parts = urlsplit(url)
        # An @ or a secret outside the login would not be hidden; in an index's URL, none is valid.
        is_plain = not (parts.query or parts.fragment or "@" in parts.path or _ODD.search(url))
        is_url = parts.scheme in _INDEX_SCHEMES and bool(parts.netloc or parts.path) and is_plain
        login, _, _ = parts.netloc.rpartition("@")
        parts.port  # noqa: B018 - raises ValueError if it is not a number
    except ValueError:
        is_url, login = False, ""
    if not is_url:
        raise ConfigError(
            "expected a URL such as https://host/simple, got something else (not shown, because it "
            "may hold a secret)",
            where=where,
            remedy="write all but letters and digits of a password as %XX, such as %40 for @",
        )
    if login == HIDDEN:
        raise ConfigError(
            f"the login of this URL is {HIDDEN}, which is how it is stored and shown",
            where=where,
            remedy="give the real login",
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


def check_grid(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse too many trials, before they are planned, and settings that vary without effect."""
    repeats = config.sweep.repeats
    count = grid.count_cells(config)
    if count * repeats > MOST_TRIALS:
        varied = " x settings" if config.varied else ""
        keys = ("sweep.repeats", *config.varied, "sweep.nodes", "sweep.protocols")
        given = (origins[key] for key in keys)
        raise ConfigError(
            f"expected at most {MOST_TRIALS:,} trials, got {count * repeats:,}: {count:,} cells "
            f"(node counts x protocols{varied}) x {count_text(repeats, 'repeat')}",
            where=next((origin for origin in given if origin != "default"), "[sweep]"),
        )
    if key := grid.without_effect(config):
        raise ConfigError(
            f"{key.partition('.')[2]} has several values, but no protocol of the sweep takes it",
            where=origins[key],
            remedy="give it one value, or choose a protocol that takes it",
        )
    if "train.rate_decay" in config.varied and not config.train.rate_decay_epochs:
        raise ConfigError(
            "rate_decay has several values, but rate_decay_epochs names no epoch to apply it",
            where=origins["train.rate_decay"],
        )
    if config.varied:
        longest = max((cell.trial_id(repeats) for cell in grid.cells(config)), key=len)
        if len(longest) > LONGEST_NAME:
            raise ConfigError(
                f"expected names of trials of at most {LONGEST_NAME} characters, got {longest}",
                where=origins[next(iter(config.varied))],
                remedy="vary fewer settings at once",
            )


def check_combinations(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse settings of the training that do not combine, with each other or with a protocol."""
    train = config.train
    if train.momentum > 0 and train.optimizer != "sgd":
        raise ConfigError(
            f"momentum does not combine with optimizer {train.optimizer}: its rate differs for "
            "each parameter and only ever falls, and no source defines the two together",
            where=origins["train.momentum"],
            remedy="use optimizer sgd, or momentum 0",
        )
    epochs = list(train.rate_decay_epochs)
    if epochs != sorted(set(epochs)) or (epochs and epochs[-1] > train.epochs):
        raise ConfigError(
            f"expected rate_decay_epochs to ascend, up to the last epoch, {train.epochs}, got "
            f"{epochs}",
            where=origins["train.rate_decay_epochs"],
        )
    for name in config.sweep.protocols:
        for refused in find_protocol(name).refuses:
            if getattr(train, refused.name) == refused.value:
                raise ConfigError(
                    f"protocol {name} does not combine with {refused.name} {refused.value}: "
                    f"{refused.reason}",
                    where=origins[f"train.{refused.name}"],
                    remedy=f"leave {name} out of the protocols, or choose another {refused.name}",
                )


def check_warm_start(config: Config, where: str) -> None:
    """Refuse a warm start of workers that cannot train alone, or at a learning rate of 0."""
    if not config.train.warm_start_epochs:
        return
    for name in config.sweep.protocols:
        if find_protocol(name).synchronous:
            raise ConfigError(
                f"protocol {name} does not combine with warm_start_epochs: its workers take every "
                "step together",
                where=where,
                remedy=f"leave {name} out of the protocols, or warm_start_epochs at 0",
            )
    if config.train.rate_warmup_epochs:
        raise ConfigError(
            "warm_start_epochs does not combine with rate_warmup_epochs, whose learning rate is 0 "
            "until the first measured epoch",
            where=where,
            remedy="leave one of them at 0",
        )


def check_intervals(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse intervals that a protocol does not take, and those that make a run too long."""
    train = config.train
    given = {name: getattr(train, name) for name in ("n_fetch", "n_push")}
    for name, interval in given.items():
        for protocol in config.sweep.protocols:
            if interval > 1 and (reason := why_every_step(protocol)):
                raise ConfigError(
                    f"protocol {protocol} does not combine with {name} {interval}: {reason}",
                    where=origins[f"train.{name}"],
                    remedy=f"leave {protocol} out of the protocols, or {name} at 1",
                )
    steps = whole_intervals(train.steps_per_run, *given.values())
    if steps > MOST_STEPS_PER_RUN:
        raise ConfigError(
            f"expected a multiple of n_fetch {train.n_fetch} and n_push {train.n_push} up to "
            f"{MOST_STEPS_PER_RUN:,}, the most steps of one session.run, got {steps:,}",
            where=next((o for n in given if (o := origins[f"train.{n}"]) != "default"), "[train]"),
            remedy="use intervals with a small common multiple, such as equal ones",
        )


def check_pace(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse a pace at which a run of steps takes longer than a trial may."""
    train, limit_s = config.train, config.run.trial_timeout_s
    run_s = train.pace_ms / 1e3 * train.steps_per_run
    if run_s >= limit_s:
        raise ConfigError(
            f"{train.steps_per_run} steps of {train.pace_ms:g} ms, one run, take {run_s:g} s; "
            f"expected less than trial_timeout_s, {limit_s:g} s",
            where=origins["train.pace_ms"],
            remedy="use a shorter pace, fewer --steps-per-run, or a longer --trial-timeout-s",
        )


def check_backup_workers(config: Config, where: str) -> None:
    """Refuse backup workers that leave no gradient to apply."""
    backups = config.protocol.backup_workers
    for cell in config.sweep.cells:
        workers = cell.nodes - config.sweep.servers_of(cell)
        options = {option.name for option in find_protocol(cell.protocol).options}
        if "backup_workers" in options and backups >= workers:
            raise ConfigError(
                f"[protocol] backup_workers: expected fewer than the {workers} workers of "
                f"{cell}, got {backups}",
                where=where,
            )


def check_ports(config: Config, where: str) -> None:
    """Refuse a port range that is invalid, or too small for the largest trial."""
    first, last = config.cluster.port_range
    nodes = config.sweep.largest.nodes
    most = max(nodes, min(nodes * config.sweep.parallel, sum(host.slots for host in config.hosts)))
    beside = "s side by side" if most > nodes else ""
    problem = None
    if not FIRST_PORT <= first <= last <= LAST_PORT:
        problem = f"a first port not above the last, both from {FIRST_PORT} to {LAST_PORT}"
    elif config.hosts and last - first + 1 < most:
        # Several hosts may be one machine, and all tasks of a trial then share the range.
        problem = f"at least {most} ports, one for each node of the largest trial{beside}"
    if problem:
        raise ConfigError(f"[cluster] ports: expected {problem}, got {first}-{last}", where=where)
