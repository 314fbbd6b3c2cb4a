"""Types with bounds, for what crosses the wire: a value outside them is refused where it is read.

The bounds are far beyond what a trial brings forth. They keep what a host sends, whatever it is,
from filling memory, from overflowing where it is added up, and from meaning nothing.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

LINE_BYTES: Final = 1 << 20
"""Longest line that is read from a host: an event, an answer of its tools."""
_LARGEST: Final = 10**15  # thousands of them still fit into 64 bits
_LONGEST_S: Final = 1e9  # 30 years
_LATEST_S: Final = 1e11  # the year 5138; datetime goes to 9999

Count = Annotated[int, Meta(ge=0, le=_LARGEST)]
PositiveCount = Annotated[int, Meta(ge=1, le=_LARGEST)]
Seconds = Annotated[float, Meta(ge=0, le=_LONGEST_S)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=_LONGEST_S)]
Remaining = Annotated[float, Meta(ge=-_LONGEST_S, le=_LONGEST_S)]
"""Seconds until something happens, which may have been due already."""
Moment = Annotated[float, Meta(ge=0, le=_LATEST_S)]
"""Seconds since 1970."""
Quantity = Annotated[float, Meta(ge=0, le=_LARGEST)]
PositiveQuantity = Annotated[float, Meta(gt=0, le=_LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
ProcessId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
ExitCode = Annotated[int, Meta(ge=-255, le=255)]
"""As in ``subprocess``: negative for a signal."""
Text = Annotated[str, Meta(max_length=1000)]
"""A name or a description."""
LongText = Annotated[str, Meta(max_length=1 << 16)]
"""Text from a log or an error."""
Real = Annotated[float, Meta(ge=-1e100, le=1e100)]
"""A finite number whose square, and sums of such squares, are finite."""
StalenessCounts = Annotated[list[Count], Meta(max_length=1 << 16)]
