"""A setting: a field of the schema, with help, reason and option beside type and default."""

from __future__ import annotations

import types
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

ENVIRONMENT_PREFIX: Final = "DNNBENCH_"
RUN: Final = ("run",)
CLUSTER: Final = ("run", "launch")
PROVISIONED: Final = ("run", "provision", "launch")
"""Commands that take an option, as in ``Setting.commands``."""

_METAVARS: Final[dict[Any, str]] = {int: "N", float: "X", str: "NAME", bool: ""}


class Setting(NamedTuple):
    """The description of a field: ``Annotated[Count, Setting("Examples per step.")] = 100``.

    Attributes:
        help: one sentence, for ``--help``, the reference and the template.
        reason: why the default is what it is; for the template.
        unset: what applies if the default is None.
        example: a value for the template if the default is None.
        commands: the commands that take it as an option.
        option: the option's name if it differs from the key's.
        metavar: placeholder of the option's value if the type does not determine it.
        is_secret: the value may hold a secret, which is never stored or shown.
    """

    help: str
    reason: str = ""
    unset: str = ""
    example: Any = None
    commands: tuple[str, ...] = RUN
    option: str = ""
    metavar: str = ""
    is_secret: bool = False


class Field(NamedTuple):
    """A setting with its place in the schema.

    Attributes:
        key: ``train.batch_size``.
        kind: its type, with msgspec's constraints.
    """

    key: str
    kind: Any
    default: Any
    setting: Setting

    @property
    def table(self) -> str:
        """Its table in the file."""
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        """Its key in the table."""
        return self.key.partition(".")[2]

    @property
    def option(self) -> str:
        """Its option's name, even if no command takes it."""
        return self.setting.option or "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> list[str]:
        """The spellings of its option; none if no command takes it."""
        if not self.setting.commands:
            return []
        off = [f"--no-{self.option.removeprefix('--')}"] if self.kind_is(bool) else []
        return [self.option, *off]

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + self.key.replace(".", "_").upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be; empty if it is not one of a fixed set."""
        bare = _bare(self.kind)
        return get_args(bare) if get_origin(bare) is Literal else ()

    @property
    def metavar(self) -> str:
        """The placeholder for its option's value."""
        if self.setting.metavar:
            return self.setting.metavar
        if self.name.endswith("_s"):
            return "S"
        if self.choices:
            return "|".join(self.choices)
        bare = _bare(self.kind)
        if get_origin(bare) is tuple:
            one = _METAVARS.get(_bare(get_args(bare)[0]), "NAME")
            return f"{one},..."
        return _METAVARS[bare]

    @property
    def default_text(self) -> str:
        """Its default as the user would type it, or what applies if there is none."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        return self.setting.unset if self.default is None else f"{self.default}"

    def kind_is(self, kind: type) -> bool:
        """Return whether its values are of a type, ignoring constraints and None."""
        return _bare(self.kind) is kind


def fields_of(table: str, struct: type[msgspec.Struct]) -> dict[str, Field]:
    """Return the settings of one table of the schema: key -> its field."""
    found = {}
    for field in msgspec.structs.fields(struct):
        (setting,) = (part for part in get_args(field.type) if isinstance(part, Setting))
        key = f"{table}.{field.name}"
        found[key] = Field(key, field.type, field.default, setting)
    return found


def _bare(kind: Any) -> Any:
    """Return a type without its constraints and without None (unset)."""
    while get_origin(kind) in {Annotated, Union, types.UnionType}:
        kind = get_args(kind)[0]
    return kind
