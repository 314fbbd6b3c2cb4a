"""The time since a keeper last heard from its controller, compared with grace and lease."""

from __future__ import annotations

import time
from typing import NamedTuple


class Patience(NamedTuple):
    """The times for which a keeper waits for a silent controller.

    Attributes:
        grace_s: after this time, its roles are killed, and it has to attach again.
        lease_s: after this time without any controller, the cluster ends.
        first_s: the lease until the first controller attaches: the process that launched the
            cluster may have ended.
    """

    grace_s: float
    lease_s: float
    first_s: float


class Clock:
    """Measures the time since the last word of a controller.

    Attributes:
        grace_s: as in `Patience`.
        lease_s: the lease in force, which is ``first_s`` until a controller has attached.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.grace_s = patience.grace_s
        self.lease_s = patience.first_s
        self._heard_s = time.monotonic()

    @property
    def silent_s(self) -> float:
        """The time since the last word."""
        return time.monotonic() - self._heard_s

    def heard(self) -> None:
        """Note a word of the controller."""
        self._heard_s = time.monotonic()

    def attached(self) -> None:
        """Note that a controller has attached."""
        self.heard()
        self.lease_s = self._patience.lease_s

    def left_s(self, *, is_attached: bool) -> float:
        """Return the time left of the controller's grace, or of the lease if there is none."""
        return (self.grace_s if is_attached else self.lease_s) - self.silent_s
