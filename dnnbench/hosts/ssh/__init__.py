"""SSH connections to hosts; nothing outside this folder uses paramiko."""

from __future__ import annotations

import logging
import warnings

with warnings.catch_warnings():
    # Older releases warn every user about ciphers that newer releases of cryptography drop.
    warnings.simplefilter("ignore")
    import paramiko  # noqa: F401 - so that the modules here import it quietly

# Without a handler, its log with tracebacks would appear on the screen; everything in it that
# matters becomes a HostError.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
