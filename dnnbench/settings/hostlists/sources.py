"""The source of the hosts: one of the options, else ``[[hosts]]``, else this machine alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.errors import ConfigError
from dnnbench.settings.hostlists.connect import check_connect
from dnnbench.settings.hostlists.entries import Entry, make_hosts, read_address
from dnnbench.settings.hostlists.ranges import expand_list
from dnnbench.settings.hostlists.toml import read_tables
from dnnbench.settings.textfile import local_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dnnbench.settings.hostlists.host import HostConfig
    from dnnbench.settings.tomlfile import TomlFile

HOSTS, HOSTFILE, INVENTORY, SLURM = "--hosts", "--hostfile", "--inventory", "--slurm"
GROUP, CONNECT = "--group", "--connect"

_NODE_FILES: Final = {"PBS_NODEFILE": "PBS", "LSB_DJOB_HOSTFILE": "LSF"}
"""Variable with the path of a job's hosts, one per line -> the scheduler that sets it."""


class HostsChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options that name a list of hosts, as the user typed them.

    Attributes:
        hosts: ``[user@]host[:port]``, separated by commas.
        hostfile: path of an Open MPI host file.
        inventory: path of an Ansible inventory (INI, or JSON of ``ansible-inventory --list``).
        slurm: take the nodes of the Slurm job around this process.
        group: a group of the inventory.
        connect: the way to all hosts, whatever their list says; see `HostConfig`.
    """

    hosts: str | None = None
    hostfile: str | None = None
    inventory: str | None = None
    slurm: bool = False
    group: str | None = None
    connect: str | None = None

    @property
    def given(self) -> list[str]:
        """The names of the options that were given."""
        values = {f"--{name}": getattr(self, name) for name in self.__struct_fields__}
        return [name for name, value in values.items() if value not in (None, False)]


class Found(NamedTuple):
    """Hosts in their order, and the origin of their list; both empty if there is no list."""

    hosts: tuple[HostConfig, ...] = ()
    origin: str | None = None


def find_hosts(choice: HostsChoice, file: TomlFile | None, environ: Mapping[str, str]) -> Found:
    """Read the hosts.

    A host that is also in ``[[hosts]]`` keeps its settings from there unless its list sets them.

    Args:
        choice: the options.
        file: the settings file, which may have ``[[hosts]]``.
        environ: has the Slurm job around this process, if there is one.

    Raises:
        ConfigError: more than one list is named, or a list is invalid.
    """
    found = _listed(choice, file, environ)
    if choice.connect is None:
        return found
    connect = check_connect(choice.connect, CONNECT)
    if not found.hosts:
        raise ConfigError("needs hosts", where=CONNECT, remedy="name them with --hosts, too")
    hosts = (msgspec.structs.replace(host, connect=connect) for host in found.hosts)
    return Found(tuple(hosts), found.origin)


def _listed(choice: HostsChoice, file: TomlFile | None, environ: Mapping[str, str]) -> Found:
    tables = read_tables(file) if file else []
    listed = make_hosts(tables)
    sources = [name for name in choice.given if name not in (GROUP, CONNECT)]
    if len(sources) > 1:
        problem = f"expected one list of hosts, got {', '.join(sources)}"
        raise ConfigError(problem, where=sources[-1])
    if choice.group is not None and choice.inventory is None:
        raise ConfigError("needs an inventory", where=GROUP, remedy="give --inventory, too")
    if not sources:
        return Found(listed, file.where("hosts")) if file and listed else Found()
    entries = _entries(choice, environ)
    hosts = make_hosts(entries, {host.name: host for host in listed})
    if not hosts:
        path = choice.hostfile or choice.inventory
        raise ConfigError("names no host", where=path or HOSTS)
    return Found(hosts, entries[0].where)


def note_on_job(environ: Mapping[str, str]) -> str | None:
    """Return a note for a run on this machine inside a batch job that has several hosts."""
    note = "note: all nodes run on this machine, not on the hosts of the {} job; for those: {}"
    if environ.get("SLURM_JOB_NODELIST") and environ.get("SLURM_JOB_NUM_NODES") != "1":
        return note.format("Slurm", SLURM)
    for variable, scheduler in _NODE_FILES.items():
        if _has_several_hosts(environ.get(variable)):
            return note.format(scheduler, f"{HOSTFILE} ${variable}")
    return None


def _has_several_hosts(hostfile: str | None) -> bool:
    from dnnbench.settings.hostlists.hostfile import read_hostfile  # start-up time

    try:
        return len(read_hostfile(Path(hostfile))) > 1 if hostfile else False
    except ConfigError:
        return False


def _entries(choice: HostsChoice, environ: Mapping[str, str]) -> list[Entry]:
    if choice.hosts is not None:
        texts = expand_list(choice.hosts, HOSTS)
        return [Entry(HOSTS, read_address(text, HOSTS)) for text in texts]
    if choice.slurm:
        from dnnbench.settings.hostlists.slurm import read_job  # start-up time

        return read_job(environ, SLURM)
    if choice.hostfile is not None:
        from dnnbench.settings.hostlists.hostfile import read_hostfile  # start-up time

        return read_hostfile(local_path(choice.hostfile, HOSTFILE))
    from dnnbench.settings.hostlists.inventory import read_inventory  # start-up time

    assert choice.inventory is not None
    return read_inventory(local_path(choice.inventory, INVENTORY), choice.group)
