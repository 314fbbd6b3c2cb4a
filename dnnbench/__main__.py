"""``python -m dnnbench``."""

from __future__ import annotations

import sys

from dnnbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
