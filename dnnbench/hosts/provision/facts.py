"""What a host is and has, and whether that is enough."""

from __future__ import annotations

import ipaddress
import platform
import time
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.provision.answers import convert
from dnnbench.hosts.provision.bundle import PYTHON_RANGE, PYTHON_VERSIONS
from dnnbench.hosts.provision.wanted import environment_of
from dnnbench.trial.bounds import Count, Moment, Port, PositiveQuantity, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.settings.schema import Config

CLOCK_TOLERANCE_S: Final = 1.0
PUBLIC_ADDRESS: Final = (
    "{host}: it has the public address {address}, and TensorFlow's ports there are open without a "
    "password to whoever reaches them; use --firewall, or a firewall of your own"
)
_GB: Final = 1e9
_GIB: Final = 1 << 30
_NEEDED_BYTES: Final = 2_000_000_000
"""TensorFlow 2.21 for the processor, with what it needs, is 1.6 GB unpacked, from 0.3 GB of wheels
that lie beside it while pip works."""


class HostPython(msgspec.Struct, frozen=True):
    """An interpreter on a host; ``venv`` where it can make virtual environments."""

    path: Text
    version: Text
    venv: bool


class _Clock(msgspec.Struct, frozen=True):
    """A host's clock: seconds since 1970."""

    clock_s: Moment


class Facts(msgspec.Struct, frozen=True):
    """A host as `dnnbench.hosts.onhost.facts` sees it.

    Attributes:
        directory: dnnbench's, absolute.
        directory_id: the same on hosts that share it.
        host_id: the same for two names of one host.
        environments: keys of the complete virtual environments.
        packages: digests of the complete packages.
        data: path of a file asked for -> ``ok``, ``missing`` or ``wrong``.
        pythons: that are there; not looked for where there is an environment already.
        ports_free: of the configured range.
        clock_offset_s: of the host's clock from this machine's.
    """

    directory: Text
    directory_id: Text
    hostname: Text
    user: Text
    machine: Text
    cpu_flags_missing: list[Text]
    cores: PositiveQuantity
    memory_bytes: Count
    disk_free_bytes: Count
    environments: list[Text]
    packages: list[Text]
    data: dict[str, str]
    pythons: list[HostPython]
    ports_free: Count
    ports_used: list[Port]
    addresses: list[Text]
    host_id: Text | None = None
    server_address: Text | None = None
    clock_offset_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no address.

        Raises:
            ValueError: one is none.
        """
        for text in self.addresses:
            ipaddress.ip_address(text)
            if not text.isprintable():  # behind the % of IPv6, anything may stand
                raise ValueError(f"{text!r} is not an address")

    @property
    def summary(self) -> str:
        """The host in a few words."""
        return (
            f"{self.cores:g} cores, {self.memory_bytes / _GIB:.0f} GiB memory, "
            f"{self.disk_free_bytes / _GIB:.0f} GiB disk free"
        )

    @property
    def public_addresses(self) -> list[str]:
        """Addresses that the whole internet may reach."""
        return [text for text in self.addresses if ipaddress.ip_address(text).is_global]

    def lacking(self, wanted: Wanted) -> list[str]:
        """Name what has to be provisioned yet."""
        environment, _ = environment_of(self.machine)
        there = {
            "TensorFlow's environment": environment in self.environments,
            "this version of dnnbench": wanted.wheel.digest in self.packages,
            "the data set": all(self.data.get(file.path) == "ok" for file in wanted.data),
        }
        return [what for what, is_there in there.items() if not is_there]

    def warnings(self, host: str, config: Config) -> list[str]:
        """List what should be known of the host and hinders nothing."""
        found = []
        if abs(self.clock_offset_s) > CLOCK_TOLERANCE_S:
            found.append(
                f"{host}: its clock is {self.clock_offset_s:+.1f} s off, which shows in logs "
                "and not in durations; let it use NTP"
            )
        if self.public_addresses and not config.cluster.firewall:
            found.append(PUBLIC_ADDRESS.format(host=host, address=self.public_addresses[0]))
        return found


def facts_of(tools: HostTools, config: Config, wanted: Wanted) -> Facts:
    """Ask a host.

    Raises:
        HostError: it cannot be asked.
    """
    asked_s = time.time()
    # Which of the two it needs is among what is asked.
    keys = [environment_of(machine)[0] for machine in ("x86_64", "aarch64")]
    answer = tools.call(
        "facts",
        ports=config.cluster.port_range,
        python=config.provision.python,
        environments=keys,
        data=[
            {"path": file.path, "sha256": file.sha256} for file in (*wanted.wheels, *wanted.data)
        ],
    )
    clock_s = convert(tools.host, answer, _Clock).clock_s
    offset_s = clock_s - (asked_s + time.time()) / 2
    return convert(tools.host, {**answer, "clock_offset_s": offset_s}, Facts)


def twins(facts: Mapping[str, Facts]) -> dict[str, HostError]:
    """Return the names that mean a host which is listed before under another name, with an error.

    Args:
        facts: name -> facts, in the order of the list.
    """
    first: dict[str, str] = {}
    found = {}
    for name, its in facts.items():
        other = first.setdefault(its.host_id or name, name)
        if other != name:
            problem = f"is the same host as {other}"
            remedy = "list it once; with slots it takes more than one task"
            found[name] = HostError(problem, where=name, remedy=remedy)
    return found


def refuse_unfit(facts: Facts, config: Config, host: str) -> None:
    """Refuse a host that TensorFlow cannot run on.

    Raises:
        HostError: the processor, or too few ports.
    """
    if facts.cpu_flags_missing:
        raise HostError(
            f"the processor lacks {', '.join(facts.cpu_flags_missing)}, which TensorFlow's "
            "packages need",
            where=host,
            remedy="use another host, or build TensorFlow for this one",
        )
    if not facts.ports_free:
        raise HostError(
            f"no port in {config.cluster.ports} is free",
            where=host,
            remedy="set another range in [cluster] ports",
        )


def refuse_unprovisioned(facts: Facts, wanted: Wanted, host: str) -> None:
    """Refuse a host that lacks something.

    Raises:
        HostError: it does.
    """
    if lacking := facts.lacking(wanted):
        raise HostError(
            f"is not provisioned: {' and '.join(lacking)} missing",
            where=host,
            remedy="run `dnnbench provision`",
        )


def chosen_python(facts: Facts, config: Config, host: str) -> HostPython | None:
    """Choose what makes the virtual environment: of this side's version, else the newest.

    Returns:
        The interpreter; None where the environment is there already.

    Raises:
        HostError: there is none, or no space for what it would make.
    """
    key, _ = environment_of(facts.machine)
    if key in facts.environments:
        return None
    if facts.disk_free_bytes < _NEEDED_BYTES:
        raise HostError(
            f"no disk space: {facts.directory} has {facts.disk_free_bytes / _GB:.1f} GB free, the "
            f"environment needs {_NEEDED_BYTES / _GB:.1f} GB",
            where=host,
            remedy="free some space there, or set [cluster] directory to another disk",
        )
    fitting = [python for python in facts.pythons if _minor(python) in PYTHON_VERSIONS]
    able = [python for python in fitting if python.venv]
    if not able:
        raise _no_python(facts, config, fitting, host)
    here = ".".join(platform.python_version_tuple()[:2])
    return max(able, key=lambda python: (_minor(python) == here, _rank(python)))


def _no_python(facts: Facts, config: Config, fitting: Sequence[HostPython], host: str) -> HostError:
    other = f"name {'another' if config.provision.python else 'one'} in [provision] python"
    if fitting:
        path, version = fitting[0].path, _minor(fitting[0])
        return HostError(
            f"{path} cannot make virtual environments: its venv or ensurepip is missing",
            where=host,
            remedy=f"install it there (Debian: apt install python{version}-venv), or {other}",
        )
    found = ", ".join(f"{python.path} ({python.version})" for python in facts.pythons) or "none"
    return HostError(
        f"expected {PYTHON_RANGE}, found {found}",
        where=host,
        remedy=f"install one there, or {other}",
    )


def _rank(python: HostPython) -> int:
    return PYTHON_VERSIONS.index(_minor(python))


def _minor(python: HostPython) -> str:
    return ".".join(python.version.split(".")[:2])
