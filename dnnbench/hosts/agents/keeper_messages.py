"""Messages of a keeper, and of the relay to it: one JSON line each."""

from __future__ import annotations

from typing import Final

import msgspec

from dnnbench.errors import CauseKind, HostError
from dnnbench.sweep.event_checks import malformed
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import Count

NULL: Final = b"null"


class FinalError(HostError):
    """An error that another connection would not cure."""


class Problem(msgspec.Struct, frozen=True):
    """A refusal; ``passing`` if another attempt may succeed."""

    problem: str
    remedy: str | None = None
    passing: bool = False
    kind: CauseKind | None = None

    def as_error(self) -> HostError:
        """Return the error to raise."""
        error = HostError if self.passing else FinalError
        remedy = self.remedy and one_line(self.remedy)
        return error(one_line(self.problem), remedy=remedy).of_kind(self.kind)


class Welcome(msgspec.Struct, frozen=True):
    """The numbers of the last order taken and of the last event, and AgentReady or null."""

    orders: Count
    events: Count
    ready: msgspec.Raw


class Message(msgspec.Struct, frozen=True):
    """A line of the keeper, or of the relay if there is no keeper: one kind of field is set."""

    welcome: Welcome | None = None
    n: Count | None = None
    event: msgspec.Raw = msgspec.Raw(NULL)
    beat: Count | None = None
    left: bool = False
    ended: int | msgspec.UnsetType | None = msgspec.UNSET
    cause: str = ""
    remedy: str | None = None
    kind: CauseKind | None = None
    refused: Problem | None = None
    error: Problem | None = None


_decoder: Final = msgspec.json.Decoder(Message)


def read_message(host: str, line: bytes) -> Message:
    """Decode a line.

    Raises:
        FinalError: it is not a message.
    """
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        found = malformed(host, "a line of the keeper", line, error)
        raise FinalError(found.problem) from None
