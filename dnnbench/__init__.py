"""Benchmark asynchronous parameter-server training: Downpour SGD against Delay Compensated SGD."""

from __future__ import annotations

__version__ = "0.1.0"
