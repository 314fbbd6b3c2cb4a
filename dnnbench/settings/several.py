"""Check a setting that may be given several values, which a sweep then combines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnnbench.errors import ConfigError
from dnnbench.settings.values import check, check_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.settings.setting import Field
    from dnnbench.trial.variation import Value


class Several(tuple["Value", ...]):
    """The values of a varied setting: two or more, all different."""

    __slots__ = ()


def check_setting(field: Field, value: object, where: str, *, subject: str = "") -> Any:
    """Return the value of a setting as its type, or `Several` of a setting that may vary.

    Args:
        field: the setting.
        value: as TOML has it, or text from the environment or an option, with commas between
            several values.
        where: place where it was given.
        subject: name of the setting, for TOML.

    Raises:
        ConfigError: a value is of another type, out of range, or given twice.
    """
    if subject:
        if not (field.may_vary and isinstance(value, list)):
            return check(field.kind, value, where, subject=subject)
        return _several(
            [check(field.kind, x, where, subject=subject) for x in value], where, subject
        )
    if not (field.may_vary and isinstance(value, str) and "," in value):
        return check_text(field.kind, value, where)
    parts = [part.strip() for part in value.split(",")]
    return _several([check(field.kind, part, where, typed=value) for part in parts], where, "")


def _several(values: Sequence[Value], where: str, subject: str) -> Any:
    start = f"{subject}: " if subject else ""
    if not values:
        raise ConfigError(f"{start}expected one or more values, got an empty list", where=where)
    if len(set(values)) < len(values):
        raise ConfigError(f"{start}names a value twice, got {list(values)}", where=where)
    return values[0] if len(values) == 1 else Several(values)
