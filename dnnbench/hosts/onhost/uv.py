"""Find uv, which installs the same packages as pip in a third of the time."""

from __future__ import annotations

import os
import shutil

NAMES = ("uv", "~/.local/bin/uv", "~/.cargo/bin/uv")
"""Where uv's installers put it; a command over SSH often has a short PATH."""

THERE, MISSING, UNWANTED = "there", "missing", "unwanted"

_PIP_FILES = (
    "/etc/pip.conf",
    "/etc/xdg/pip/pip.conf",
    "~/.pip/pip.conf",
    "~/.config/pip/pip.conf",
)
_PIP_SETTINGS = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT"),
    *("PIP_CONFIG_FILE", "PIP_CONSTRAINT", "PIP_PROXY", "PIP_TRUSTED_HOST"),
)


def found() -> str | None:
    """Return the path of this host's own uv; None if there is none."""
    paths = (shutil.which(os.path.expanduser(name)) for name in NAMES)
    return next(filter(None, paths), None)


def state(*, source_is_given: bool) -> str:
    """Return whether an installation can use uv: it is there, it is missing, or it is unwanted.

    Args:
        source_is_given: whether the caller names the index or the wheels. Where it does not, the
            settings of pip on this host decide, which uv does not read.
    """
    if not source_is_given and pip_is_configured():
        return UNWANTED
    return THERE if found() else MISSING


def pip_is_configured() -> bool:
    """Return whether pip has settings on this host that say from where it installs."""
    has_file = any(os.path.exists(os.path.expanduser(path)) for path in _PIP_FILES)
    return has_file or any(name in os.environ for name in _PIP_SETTINGS)
