"""``python -m dnnbench``."""

from __future__ import annotations

import sys

if not getattr(sys.flags, "safe_path", False):
    # A file of the user's in the current directory must not replace a module of Python's.
    sys.path.append(sys.path.pop(0))

from dnnbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
