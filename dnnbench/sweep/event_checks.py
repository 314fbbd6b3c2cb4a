"""Check what a host sends, where it enters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.errors import HostError
from dnnbench.trial.messages import decode_event

if TYPE_CHECKING:
    from dnnbench.trial.messages import AnyEvent

_SHOWN_BYTES: Final = 80


def read_event(host: str, line: bytes) -> AnyEvent:
    """Read an event that a host sent.

    Raises:
        HostError: it is none.
    """
    try:
        return decode_event(line)
    except msgspec.DecodeError as error:
        problem = f"expected an event, found {line[:_SHOWN_BYTES]!r}: {error}"
        raise HostError(problem, where=host) from None
