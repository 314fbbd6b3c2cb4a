"""Check the answers of a host's tools on arrival."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dnnbench.errors import CauseKind, HostError
from dnnbench.text.safe import one_line

T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    """The tools' description of a failure, in words for the user."""

    problem: str
    remedy: str | None = None
    kind: CauseKind | None = None


def decode(line: bytes) -> dict[str, Any]:
    """Decode one line of an answer.

    Raises:
        ValueError: it is not a JSON object, or is nested too deeply.
    """
    try:
        answer: dict[str, Any] = msgspec.json.decode(line, type=dict)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    return answer


def convert(host: str, answer: Any, kind: type[T]) -> T:
    """Return an answer, or a part of one, as a value of a type.

    Raises:
        HostError: it does not have that type.
    """
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise HostError(
            f"the tools gave an unexpected answer: {one_line(str(error))}", where=host
        ) from None


def refuse_error(host: str, answer: dict[str, Any]) -> None:
    """Raise the error that an answer reports, if it reports one.

    Raises:
        HostError: the command on the host failed, with its problem and remedy.
    """
    if "error" in answer:
        found = convert(host, answer["error"], _Problem)
        remedy = found.remedy and one_line(found.remedy)
        raise HostError(one_line(found.problem), where=host, remedy=remedy).of_kind(found.kind)
