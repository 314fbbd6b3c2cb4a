"""Hosts over SSH: the only place that knows paramiko."""

from __future__ import annotations

import logging
import warnings

with warnings.catch_warnings():
    # Older releases of it tell every user about ciphers that newer releases of cryptography drop.
    warnings.simplefilter("ignore")
    import paramiko  # noqa: F401 - so that the modules here import it quietly

# What it logs, with tracebacks, would land on the screen for want of a handler; whatever matters of
# it becomes a HostError.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
