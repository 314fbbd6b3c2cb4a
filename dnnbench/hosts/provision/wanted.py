"""Software and data that a host must have: the versions installed here, the sweep's data set."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dnnbench.data import catalog
from dnnbench.data.locate import stored_files
from dnnbench.errors import ConfigError
from dnnbench.hosts.provision.bundle import Wheel, environment_key, requirements, wheel
from dnnbench.trial.spec import Device

if TYPE_CHECKING:
    from dnnbench.settings.schema import Config
    from dnnbench.trial.spec import DataSpec

_KEY_LENGTH = 16


class DataFile(msgspec.Struct, frozen=True):
    """A file to be pushed.

    Attributes:
        path: path on the host, relative to dnnbench's directory.
    """

    source: Path
    path: str
    sha256: str


class Wanted(msgspec.Struct, frozen=True):
    """Software and data that every host of a sweep must have.

    Attributes:
        wheel: a wheel of the running dnnbench.
        device: on which workers compute, which decides on the build of TensorFlow.
        data: the data set's files; empty for a generated one.
        wheels: every file of the local directory of wheels, if one is given.
        data_directory: the data set's directory on hosts, relative to dnnbench's; None for a
            generated data set.
    """

    wheel: Wheel
    data: list[DataFile]
    wheels: list[DataFile]
    data_directory: str | None = None
    device: Device = "cpu"

    @property
    def package(self) -> str:
        """The directory of the dnnbench package on a host."""
        return f"packages/{self.wheel.digest}"


def wanted_for(config: Config, data: DataSpec | None) -> Wanted:
    """Gather what hosts need.

    Args:
        config: gives the directory of wheels.
        data: a data set found on this machine; None if hosts need none.

    Raises:
        ConfigError: the directory of wheels does not exist, or is empty.
    """
    wheels = _wheels(config.provision.wheels)
    directory = None if data is None else _data_directory(data)
    return Wanted(wheel(), _data_files(data), wheels, directory, config.train.device)


@functools.cache  # needed for every host, and metadata is slow to read
def environment_of(machine: str, device: Device = "cpu") -> tuple[str, list[str]]:
    """Return the key of a host's virtual environment, and its requirements."""
    needed = requirements(machine, device)
    return environment_key(needed), needed


def _data_directory(data: DataSpec) -> str | None:
    if data.name in catalog.GENERATED:
        return None
    return f"data/{data.digest[:_KEY_LENGTH]}"


def _data_files(data: DataSpec | None) -> list[DataFile]:
    if data is None:
        return []
    return [_file(path, f"{_data_directory(data)}/{path.name}") for path in stored_files(data)]


def _wheels(directory: str | None) -> list[DataFile]:
    if directory is None:
        return []
    folder = Path(directory).expanduser()
    files = sorted(folder.glob("*.whl"))
    if not files:
        raise ConfigError(
            f"expected wheels, found {'none' if folder.is_dir() else 'no such directory'}",
            where=f"[provision] wheels = {directory}",
            remedy="fill it with `pip download`, see docs/hosts.md",
        )
    return [_file(path, f"wheels/{path.name}") for path in files]


def _file(source: Path, path: str) -> DataFile:
    with source.open("rb") as content:
        digest = hashlib.sha256()
        while block := content.read(1 << 20):
            digest.update(block)
    return DataFile(source, path, digest.hexdigest())
