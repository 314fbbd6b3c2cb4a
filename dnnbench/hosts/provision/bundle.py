"""The files sent to a host, made from the package that is running here.

Two files, byte for byte the same whenever the sources are the same: the tools of
`dnnbench.hosts.onhost`, which need nothing but Python, and a wheel of dnnbench. Everything else is
a list of requirements in the versions installed here, so that all sides of a trial are alike.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

import dnnbench
import dnnbench.hosts.onhost
import dnnbench.kernel
from dnnbench.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dnnbench.trial.spec import Device

TENSORFLOW: Final = "tensorflow"
TENSORFLOW_CPU: Final = "tensorflow-cpu"
BESIDE_TENSORFLOW: Final = ("keras", "msgspec")
"""Imported by the agent besides TensorFlow. NumPy comes as TensorFlow's dependency: the version
installed here may have no wheel for the host's Python."""
PYTHON_VERSIONS: Final = ("3.10", "3.11", "3.12", "3.13")
"""Versions for which TensorFlow has wheels and dnnbench is tested."""
PYTHON_RANGE: Final = f"Python {PYTHON_VERSIONS[0]} to {PYTHON_VERSIONS[-1]}"

_DIGEST_LENGTH: Final = 16
_MACHINES_WITH_CPU_BUILD: Final = ("x86_64", "AMD64")
"""Have a tensorflow-cpu package; elsewhere, ``tensorflow`` itself has no GPU part."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
_FILE_MODE: Final = 0o644
_TOOLS_MAIN: Final = """\
import sys
from importlib.machinery import ModuleSpec


class Sources:
    def find_spec(self, name, path=None, target=None):
        for key, is_package in ((name, False), (name + ".__init__", True)):
            if key in SOURCES:
                origin = "<" + key + ">"
                return ModuleSpec(name, self, origin=origin, is_package=is_package)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        code = compile(self.get_source(module.__name__), module.__spec__.origin, "exec", 0, True)
        exec(code, module.__dict__)

    def get_source(self, name):  # for the lines of a traceback
        return SOURCES.get(name) or SOURCES[name + ".__init__"]


sys.meta_path.insert(0, Sources())
from onhost.__main__ import main
sys.exit(main(sys.argv[1:], globals().get("pushed")))
"""
"""A program that imports modules from `SOURCES`, defined in front of it: it runs what was read, and
opens no path whose file another user might replace in the meantime."""


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program for Python, in one file."""

    content: bytes

    @property
    def digest(self) -> str:
        """Its SHA-256, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


class Wheel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wheel.

    Attributes:
        digest: digest of its contents, independent of compression.
    """

    file_name: str
    digest: str
    content: bytes


@functools.cache
def tools() -> Bundle:
    """Pack the tools of `dnnbench.hosts.onhost`; ``python3 <file> <command>`` runs one."""
    sources = {
        f"onhost.{name.removesuffix('.py')}": content.decode()
        for name, content in _files(Path(dnnbench.hosts.onhost.__path__[0]))
        if name.endswith(".py")
    }
    sources["dnnbench.__init__"] = ""  # of the package no more than the tools need
    sources["dnnbench.kernel"] = Path(dnnbench.kernel.__file__).read_text(encoding="utf-8")
    return Bundle(f"SOURCES = {sources!r}\n{_TOOLS_MAIN}".encode())


@functools.cache
def wheel() -> Wheel:
    """Build a wheel of the running dnnbench (PEP 427).

    It declares no dependencies: a host gets `requirements`, which are fewer and pinned.
    """
    version = dnnbench.__version__
    about = f"dnnbench-{version}.dist-info"
    members = {f"dnnbench/{name}": content for name, content in _files(Path(dnnbench.__path__[0]))}
    members[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: dnnbench\nVersion: {version}\nRequires-Python: >=3.10\n"
    ).encode()
    members[f"{about}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: dnnbench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = f"{about}/RECORD"
    lines = [f"{name},{_record_hash(content)},{len(content)}" for name, content in members.items()]
    members[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    return Wheel(
        file_name=f"dnnbench-{version}-py3-none-any.whl",
        digest=hashlib.sha256(members[record]).hexdigest()[:_DIGEST_LENGTH],
        content=_zip(members, zipfile.ZIP_DEFLATED),
    )


def _build(machine: str, device: Device) -> str:
    """Return the package that has the smallest build of TensorFlow that serves."""
    if device == "gpu":
        return f"{TENSORFLOW}[and-cuda]"
    return TENSORFLOW_CPU if machine in _MACHINES_WITH_CPU_BUILD else TENSORFLOW


def requirements(machine: str = "x86_64", device: Device = "cpu") -> list[str]:
    """Return what pip installs on a host, TensorFlow first, in the versions installed here.

    Args:
        machine: the host's architecture, as its kernel names it.
        device: on which workers compute. The CPU build serves every host whose GPU nobody uses.

    Raises:
        HostError: a package is not installed here, so its version is unknown.
    """
    version = _version(TENSORFLOW) or _version(TENSORFLOW_CPU)
    versions = {
        _build(machine, device): version,
        **{name: _version(name) for name in BESIDE_TENSORFLOW},
    }
    missing = [name for name, found in versions.items() if found is None]
    if missing:
        raise HostError(
            f"{missing[0]} is not installed here, so it is unknown which version hosts need",
            remedy="install dnnbench here with its dependencies: pip install dnnbench",
        )
    return [f"{name}=={found}" for name, found in versions.items()]


def environment_key(needed: list[str]) -> str:
    """Return a key for the virtual environment with these requirements."""
    text = "\n".join(sorted(needed))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def _version(package: str) -> str | None:
    # From the metadata: importing TensorFlow takes seconds.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of every file of a package, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield name.as_posix(), path.read_bytes()


def _zip(members: Mapping[str, bytes], compression: int) -> bytes:
    """Pack members reproducibly: without times and owners."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = compression
            entry.create_system = 3  # Unix, for the mode below
            entry.external_attr = _FILE_MODE << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _record_hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
