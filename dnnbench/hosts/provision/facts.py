"""Facts about a host, and checks whether they suffice."""

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
from dnnbench.settings.checks import GPU_REMEDY, NO_GPU
from dnnbench.trial.bounds import Count, Moment, Port, PositiveQuantity, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.errors import CauseKind
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.settings.schema import Config
    from dnnbench.trial.spec import Device

CLOCK_TOLERANCE_S: Final = 1.0
PUBLIC_ADDRESS: Final = (
    "{host}: it has the public address {address}, and anybody who reaches TensorFlow's ports there "
    "can use them without a password; use --firewall, or a firewall of your own"
)
_GB: Final = 1e9
_GIB: Final = 1 << 30
_NEEDED_BYTES: Final[dict[Device, int]] = {"cpu": 2_000_000_000, "gpu": 8_000_000_000}
"""The CPU build of TensorFlow 2.21 with its dependencies is 1.6 GB unpacked, plus 0.3 GB of wheels
while they are installed. The GPU build has 2.2 GB of wheels; unpacked it was not measured."""


class HostPython(msgspec.Struct, frozen=True):
    """An interpreter on a host; ``venv`` if it can create virtual environments."""

    path: Text
    version: Text
    venv: bool


class _Clock(msgspec.Struct, frozen=True):
    """A host's clock: seconds since 1970."""

    clock_s: Moment


class Facts(msgspec.Struct, frozen=True):
    """The facts that `dnnbench.hosts.onhost.facts` reports.

    Attributes:
        directory: dnnbench's directory, absolute.
        directory_id: the same on all hosts that share the directory.
        host_id: the same for two names of one host.
        environments: keys of the complete virtual environments.
        packages: digests of the complete packages.
        data: path of a requested file -> ``ok``, ``missing`` or ``wrong``.
        pythons: interpreters; not looked for if the environment already exists.
        gpus: NVIDIA's, with their driver.
        ends_with_command: whether everything that a command starts ends with it, as a Slurm
            step does.
        uv: whether an installation there can use uv, see `dnnbench.hosts.onhost.uv`; None if the
            environment already exists.
        ports_free: number of free ports in the configured range.
        clock_offset_s: the host's clock minus this machine's.
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
    uv: Text | None = None
    gpus: Count = 0
    ends_with_command: bool = False

    def __post_init__(self) -> None:
        """Check the addresses.

        Raises:
            ValueError: one is not an IP address.
        """
        for text in self.addresses:
            ipaddress.ip_address(text)
            if not text.isprintable():  # IPv6 allows any text after a %
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
        """Addresses that may be reached from the whole internet."""
        return [text for text in self.addresses if ipaddress.ip_address(text).is_global]

    def lacking(self, wanted: Wanted) -> dict[str, CauseKind]:
        """Return what still has to be provisioned, with the kind of failure that this is."""
        environment, _ = environment_of(self.machine, wanted.device)
        has_data = all(self.data.get(file.path) == "ok" for file in wanted.data)
        found: dict[str, tuple[CauseKind, bool]] = {
            "TensorFlow's environment": ("version", environment in self.environments),
            "this version of dnnbench": ("version", wanted.wheel.digest in self.packages),
            "the data set": ("data", has_data),
        }
        return {what: kind for what, (kind, exists) in found.items() if not exists}

    def warnings(self, host: str, config: Config) -> list[str]:
        """Return notes on problems that do not prevent a trial."""
        found = []
        if abs(self.clock_offset_s) > CLOCK_TOLERANCE_S:
            found.append(
                f"{host}: its clock is {self.clock_offset_s:+.1f} s off, which affects logs "
                "but not durations; let it use NTP"
            )
        if self.public_addresses and not config.cluster.firewall:
            found.append(PUBLIC_ADDRESS.format(host=host, address=self.public_addresses[0]))
        return found


def facts_of(tools: HostTools, config: Config, wanted: Wanted) -> Facts:
    """Ask a host for its facts.

    Raises:
        HostError: it cannot be asked.
    """
    asked_s = time.time()
    # Both, because its architecture is one of the facts asked for.
    keys = [environment_of(machine, wanted.device)[0] for machine in ("x86_64", "aarch64")]
    answer = tools.call(
        "facts",
        ports=config.cluster.port_range,
        python=config.provision.python,
        environments=keys,
        source_is_given=bool(config.provision.index_url or config.provision.wheels),
        data=[
            {"path": file.path, "sha256": file.sha256} for file in (*wanted.wheels, *wanted.data)
        ],
    )
    clock_s = convert(tools.host, answer, _Clock).clock_s
    offset_s = clock_s - (asked_s + time.time()) / 2
    return convert(tools.host, {**answer, "clock_offset_s": offset_s}, Facts)


def twins(facts: Mapping[str, Facts]) -> dict[str, HostError]:
    """Return an error for every name of a host that is listed earlier under another name.

    Args:
        facts: name -> facts, in the order of the list.
    """
    first: dict[str, str] = {}
    found = {}
    for name, its in facts.items():
        other = first.setdefault(its.host_id or name, name)
        if other != name:
            problem = f"is the same host as {other}"
            remedy = "list it once; set its slots to run more than one task"
            found[name] = HostError(problem, where=name, remedy=remedy)
    return found


def refuse_unfit(facts: Facts, config: Config, host: str) -> None:
    """Refuse a host on which TensorFlow cannot run.

    Raises:
        HostError: the processor is not supported, a GPU is wanted and missing, or no port is free.
    """
    if config.train.device == "gpu" and not facts.gpus:
        raise HostError(NO_GPU, where=host, remedy=GPU_REMEDY)
    if facts.cpu_flags_missing:
        raise HostError(
            f"the processor lacks {', '.join(facts.cpu_flags_missing)}, which TensorFlow's "
            "packages need",
            where=host,
            remedy="use another host, or build TensorFlow for this one",
        ).of_kind("illegal-instruction")
    if not facts.ports_free:
        raise HostError(
            f"no port in {config.cluster.ports} is free",
            where=host,
            remedy="set another range in [cluster] ports",
        ).of_kind("port")


def refuse_unprovisioned(facts: Facts, wanted: Wanted, host: str) -> None:
    """Refuse a host that is not provisioned.

    Raises:
        HostError: something is missing there.
    """
    if lacking := facts.lacking(wanted):
        raise HostError(
            f"is not provisioned: {' and '.join(lacking)} missing",
            where=host,
            remedy="run `dnnbench provision`",
        ).of_kind(next(iter(lacking.values())))


def chosen_python(facts: Facts, config: Config, host: str) -> HostPython | None:
    """Choose the virtual environment's interpreter: this side's version, or else the newest.

    Returns:
        The interpreter; None if the environment already exists.

    Raises:
        HostError: there is no suitable interpreter, or too little disk space.
    """
    key, _ = environment_of(facts.machine, config.train.device)
    if key in facts.environments:
        return None
    needed_bytes = _NEEDED_BYTES[config.train.device]
    if facts.disk_free_bytes < needed_bytes:
        raise HostError(
            f"no disk space: {facts.directory} has {facts.disk_free_bytes / _GB:.1f} GB free, the "
            f"environment needs {needed_bytes / _GB:.1f} GB",
            where=host,
            remedy="free some space there, or set [cluster] directory to another disk",
        ).of_kind("disk-full")
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
    ).of_kind("version")


def _rank(python: HostPython) -> int:
    return PYTHON_VERSIONS.index(_minor(python))


def _minor(python: HostPython) -> str:
    return ".".join(python.version.split(".")[:2])
