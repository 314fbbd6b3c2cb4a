"""The time since a keeper's controller was last heard of, against its grace and the lease."""

from __future__ import annotations

import time
from typing import NamedTuple


class Patience(NamedTuple):
    """How long a keeper waits for a silent controller.

    Attributes:
        grace_s: then its roles are killed, and it has to attach anew.
        lease_s: without any controller, until the cluster ends.
        first_s: in place of the lease until the first controller has come: the process that
            launched the cluster may have ended.
    """

    grace_s: float
    lease_s: float
    first_s: float


class Clock:
    """Runs from the last word of a controller.

    Attributes:
        grace_s: as in `Patience`.
        lease_s: in force: ``first_s`` until a controller has attached.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.grace_s = patience.grace_s
        self.lease_s = patience.first_s
        self._heard_s = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Return the time since the last word."""
        return time.monotonic() - self._heard_s

    def heard(self) -> None:
        """Note a word of the controller."""
        self._heard_s = time.monotonic()

    def attached(self) -> None:
        """Note that a controller has attached."""
        self.heard()
        self.lease_s = self._patience.lease_s

    def left_s(self, *, is_attached: bool) -> float:
        """Return the time until the grace of a controller, or the lease, is over."""
        return (self.grace_s if is_attached else self.lease_s) - self.silent_s
