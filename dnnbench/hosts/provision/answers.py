"""Check the answers of a host's tools, where they enter."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dnnbench.errors import HostError
from dnnbench.text.safe import one_line

T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    """What the tools say of a failure, in words for the user."""

    problem: str
    remedy: str | None = None


def decode(line: bytes) -> dict[str, Any]:
    """Read a line of an answer.

    Raises:
        ValueError: it is no JSON object, or one that is nested too deep.
    """
    try:
        answer: dict[str, Any] = msgspec.json.decode(line, type=dict)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    return answer


def convert(host: str, answer: Any, kind: type[T]) -> T:
    """Return an answer, or a part of one, as a value of this kind.

    Raises:
        HostError: it is none.
    """
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise HostError(
            f"the tools gave an odd answer: {one_line(str(error))}", where=host
        ) from None


def refuse_error(host: str, answer: dict[str, Any]) -> None:
    """Raise the error that an answer is, if it is one.

    Raises:
        HostError: the command there says why not.
    """
    if "error" in answer:
        told = convert(host, answer["error"], _Problem)
        remedy = told.remedy and one_line(told.remedy)
        raise HostError(one_line(told.problem), where=host, remedy=remedy)
