"""Check one value of the settings against its type; say in plain words what is wrong with it."""

from __future__ import annotations

import functools
import math
import re
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from dnnbench.errors import ConfigError, nearest

Name = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
Port = Annotated[int, Meta(ge=1, le=65535)]
HostName = Annotated[
    str,
    # It becomes part of paths and of command lines: no slash, no blank, no dash or dot in front.
    Meta(
        pattern=r"^(\w[\w.-]*|[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,7}(%[\w.-]+)?)\Z",
        description="a host's name or address",
    ),
]

_FAULT: Final = r"Expected `(?P<type>\w+)[^`]*`(?P<bound>.*?)(, got .*)?$"
_WORDS: Final = {
    "int": ("a whole number", "whole numbers"),
    "float": ("a number", "numbers"),
    "str": ("text", "texts"),
    "bool": ("true or false", "true or false"),
    "array": ("a list", "lists"),
}
"""msgspec's names of types -> one of them, some of them."""


@functools.cache
def field_types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Map the fields of a struct to their types: worked out only where a value needs checking."""
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def check(kind: Any, value: Any, where: str, *, subject: str = "", typed: str | None = None) -> Any:
    """Return the value as ``kind``.

    Args:
        kind: a type, with msgspec's constraints.
        value: as TOML has it, or made from ``typed``.
        where: it was given.
        subject: what the value is for, where ``where`` does not say so.
        typed: what the user wrote, where every value is text.

    Raises:
        ConfigError: it is of another type, or out of range.
    """
    try:
        checked = msgspec.convert(value, kind, strict=typed is None)
        if not isinstance(checked, float) or math.isfinite(checked):
            return checked
        expected = "a finite number"
    except msgspec.ValidationError as error:
        expected = _expectation(kind, str(error), is_typed=typed is not None)
    problem = f"expected {expected}, got {(value if typed is None else typed)!r}"
    given = value if isinstance(value, list) else [value]
    choices = _choices(kind)
    unknown = (part for part in given if isinstance(part, str) and part not in choices)
    remedy = nearest(next(unknown, ""), choices)
    raise ConfigError(f"{subject}: {problem}" if subject else problem, where=where, remedy=remedy)


def check_text(kind: Any, value: object, where: str) -> Any:
    """Do the same with a value that may be text, as environment and options give it."""
    if not isinstance(value, str):
        return check(kind, value, where)
    parts = [part.strip() for part in value.split(",")]
    return check(kind, parts if _is_list(kind) else value, where, typed=value)


def _expectation(kind: Any, message: str, *, is_typed: bool) -> str:
    """Put msgspec's expectation into plain words."""
    if choices := _choices(kind):
        return ("one or more of " if _is_list(kind) else "one of ") + ", ".join(choices)
    if description := _description(kind):
        return description
    fault, _, path = message.partition(" - at ")
    match = re.match(_FAULT, fault)
    if not match:  # "Integer value out of range"
        return "a smaller number"
    one, many = _WORDS[match["type"]]
    if "[" not in path:
        return f"{one}{match['bound']}"
    many += match["bound"]
    return f"{many} separated by commas" if is_typed else f"a list of {many}"


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for part in get_args(kind) for choice in _choices(part)]


def _description(kind: Any) -> str | None:
    """Return the words of a kind that says itself what it is, as one with a pattern has to."""
    own = (part.description for part in get_args(kind) if isinstance(part, Meta))
    inner = (_description(part) for part in get_args(kind))
    return next(filter(None, (*own, *inner)), None)


def _is_list(kind: Any) -> bool:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(bare) is tuple
