"""Find a user's own model, ``module:function``, without importing it and thus TensorFlow."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from dnnbench.errors import ConfigError
from dnnbench.trial.models import MODELS

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def find_user_module(name: str, where: str = "[train] model") -> Path | None:
    """Locate the top-level module or package that a model comes from.

    The search is that of an agent: Python's path, then the current directory. Whether the
    module has the function is known only after the import, on a host.

    Args:
        name: of the model; ``package.module:function``, or one of dnnbench's own.
        where: origin of the name.

    Returns:
        The module's file or the package's directory; None for one of dnnbench's own models.

    Raises:
        ConfigError: there is no such module, or Python has one of its own of that name.
    """
    if name in MODELS:
        return None
    module = name.partition(":")[0]
    top, *inner = module.split(".")
    here = Path.cwd()
    if top in sys.stdlib_module_names:
        problem = f"{top} is the name of a module of Python itself"
        raise ConfigError(problem, where=where, remedy=f"give {top}.py another name")
    elsewhere = [path for path in sys.path if Path(path).resolve() != here]
    importlib.invalidate_caches()  # a module may be younger than this process
    found = _location(PathFinder.find_spec(top, [*elsewhere, str(here)]) or _installed(top))
    if found is None:
        remedy = f"save it as {top}.py there, or install it"
        problem = f"there is no source of module {top} in {here} or on Python's path"
        raise ConfigError(problem, where=where, remedy=remedy)
    within = found.joinpath(*inner)
    if inner and not (within.with_suffix(".py").is_file() or within.is_dir()):
        raise ConfigError(f"there is no {module} in {found}", where=where)
    return found


def model_files(name: str) -> dict[str, Path]:
    """Return the sources of a user's own model: relative path on a host -> file here.

    Raises:
        ConfigError: as `find_user_module`.
    """
    found = find_user_module(name)
    if found is None:
        return {}
    if found.is_file():
        return {found.name: found}
    return {str(path.relative_to(found.parent)): path for path in sorted(found.rglob("*.py"))}


def model_digest(name: str) -> str:
    """Return one SHA-256 over the sources of a user's own model; "" for dnnbench's own.

    Raises:
        ConfigError: as `find_user_module`.
    """
    import hashlib  # loads OpenSSL; not needed to read a plan

    files = model_files(name)
    digest = hashlib.sha256()
    for path, source in files.items():
        digest.update(f"{path}\n".encode() + source.read_bytes())
    return digest.hexdigest() if files else ""


def _installed(top: str) -> ModuleSpec | None:
    """Ask Python's other finders too: an editable installation has its own."""
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # it is loaded and has no spec
        return None


def _location(spec: ModuleSpec | None) -> Path | None:
    """Return a package's directory or a module's source; None if it is neither."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin and spec.origin.endswith(".py") else None
