"""Check one value of the settings against its type, and explain in plain words what is wrong."""

from __future__ import annotations

import functools
import math
import re
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from dnnbench.errors import ConfigError, nearest
from dnnbench.settings.setting import Setting

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
"""Characters that no name or path has: control characters, and bytes that are not UTF-8."""

Name = Annotated[
    str,
    Meta(
        pattern=rf"^[^{_CONTROL}]+\Z",
        max_length=4000,
        description="text, not empty and without control characters",
    ),
]
_PATH: Final = Meta(
    pattern=rf"^[^{_CONTROL}]+\Z",
    max_length=4000,
    description="a path, not empty and without control characters",
)
LocalPath = Annotated[str, _PATH]
"""A path on this machine; `dnnbench.settings.checks.check_values` checks its home directory."""

Count = Annotated[int, Meta(ge=1, le=10_000)]
Seconds = Annotated[float, Meta(gt=0, le=604_800)]
"""A wait of at most a week, because clocks and polls overflow after some weeks."""
Price = Annotated[float, Meta(ge=1e-9, le=1_000_000)]
"""USD, with the bounds of a price book."""
Port = Annotated[int, Meta(ge=1, le=65535)]
HostName = Annotated[
    str,
    # It becomes part of paths and command lines: no slash, no blank, no leading dash or dot.
    Meta(
        pattern=r"^(\w[\w.-]*|[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,7}(%[\w.-]+)?)\Z",
        max_length=253,  # the longest name in DNS
        description="a host's name or address",
    ),
]

Variable = Annotated[
    str,
    Meta(
        pattern=rf"^[A-Za-z_][A-Za-z0-9_]{{0,99}}(=[^{_CONTROL}]{{0,4000}})?\Z",
        description="NAME or NAME=VALUE of an environment variable",
    ),
]

_FAULT: Final = r"Expected `(?P<type>\w+)[^`]*`(?P<bound>.*?)(, got .*)?$"
_TOO_LARGE: Final = "Integer value out of range"
_WORDS: Final = {
    "int": ("a whole number", "whole numbers"),
    "float": ("a number", "numbers"),
    "str": ("text", "texts"),
    "bool": ("true or false", "true or false"),
    "array": ("a list", "lists"),
}
"""msgspec's name of a type -> its singular and plural in our words."""


@functools.cache
def field_types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the types of a struct's fields; cached because it is slow."""
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def is_path(kind: Any) -> bool:
    """Return whether values of a type are paths on this machine."""
    return any(part is _PATH or is_path(part) for part in get_args(kind))


def check(kind: Any, value: Any, where: str, *, subject: str = "", typed: str | None = None) -> Any:
    """Return the value as ``kind``.

    Args:
        kind: a type, with msgspec's constraints.
        value: as TOML has it, or made from ``typed``.
        where: place where it was given.
        subject: name of the setting, if ``where`` does not include it.
        typed: text that the user wrote, if the source has only texts.

    Raises:
        ConfigError: it is of another type, or out of range.
    """
    try:
        checked = msgspec.convert(value, kind, strict=typed is None)
        if not isinstance(checked, float) or math.isfinite(checked):
            return checked
        fault = "expected a finite number"
    except msgspec.ValidationError as error:
        fault = _fault(kind, str(error), is_typed=typed is not None)
    problem = f"{fault}, got {_shown(kind, value if typed is None else typed)}"
    given = value if isinstance(value, list) else [value]
    choices = _choices(kind)
    unknown = (part for part in given if isinstance(part, str) and part not in choices)
    remedy = nearest(next(unknown, ""), choices)
    raise ConfigError(f"{subject}: {problem}" if subject else problem, where=where, remedy=remedy)


def check_text(kind: Any, value: object, where: str) -> Any:
    """As `check`, for a value that may be text, from the environment or an option."""
    if not isinstance(value, str):
        return check(kind, value, where)
    parts = [part.strip() for part in value.split(",")]
    try:
        checked = check(kind, parts if _is_list(kind) else value, where, typed=value)
        value.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8: results could not store them
        raise ConfigError(f"expected UTF-8 text, got {value!r}", where=where) from None
    return checked


def _fault(kind: Any, message: str, *, is_typed: bool) -> str:
    """Return msgspec's message in plain words; an unknown one is returned unchanged."""
    if choices := _choices(kind):
        some = "one or more of" if _is_list(kind) else "one of"
        return f"expected {some} {', '.join(choices)}"
    if description := _description(kind):
        return f"expected {description}"
    fault, _, path = message.partition(" - at ")
    if fault == _TOO_LARGE:
        return "expected a smaller number"
    match = re.match(_FAULT, fault)
    if not match or match["type"] not in _WORDS:
        return message
    one, many = _WORDS[match["type"]]
    if "[" not in path:
        return f"expected {one}{match['bound']}"
    many += match["bound"]
    return f"expected {many} separated by commas" if is_typed else f"expected a list of {many}"


def _shown(kind: Any, value: object) -> str:
    """Return a value as the user wrote it, unless it may hold a secret."""
    if any(isinstance(part, Setting) and part.is_secret for part in get_args(kind)):
        return "another text (not shown, because it may hold a secret)"
    return repr(value)


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for part in get_args(kind) for choice in _choices(part)]


def _description(kind: Any) -> str | None:
    """Return the description of a type if it has one, as every type with a pattern must."""
    own = (part.description for part in get_args(kind) if isinstance(part, Meta))
    inner = (_description(part) for part in get_args(kind))
    return next(filter(None, (*own, *inner)), None)


def _is_list(kind: Any) -> bool:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(bare) is tuple
