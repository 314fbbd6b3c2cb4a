"""A setting: everything that its field in the schema declares besides type and default."""

from __future__ import annotations

import types
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from dnnbench.trial.spec import VARIABLE

ENVIRONMENT_PREFIX: Final = "DNNBENCH_"
RUN: Final = ("run",)
CLUSTER: Final = ("run", "launch")
PROVISIONED: Final = ("run", "provision", "launch")
PRICED: Final = ("run", "cost", "predict")
"""Commands that take an option, as in ``Setting.commands``."""

_VARIED_TABLES: Final = ("train", "protocol")

_METAVARS: Final[dict[Any, str]] = {int: "N", float: "X", str: "NAME", bool: ""}


class Setting(NamedTuple):
    """Metadata of a field: ``Annotated[Count, Setting("Examples per step.")] = 100``.

    Attributes:
        help: one sentence, for the option, the reference and the template.
        reason: for the default; in the template.
        unset: what applies if the default is None.
        example: a value if the default is None; in the template.
        commands: those that take it as an option.
        option: name of the option if it is not that of the key.
        metavar: placeholder of the option if it does not follow from the type.
        is_secret: whether it may hold a secret, which is never stored or shown.
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
        """The table of the file that contains it."""
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
        """Its allowed words; empty if it is not a choice."""
        bare = _bare(self.kind)
        return get_args(bare) if get_origin(bare) is Literal else ()

    @property
    def may_vary(self) -> bool:
        """Whether a sweep may vary it: it takes one value, or a list of them."""
        return self.table in _VARIED_TABLES and self.name in VARIABLE

    @property
    def metavar(self) -> str:
        """The placeholder of its option."""
        one = self._metavar
        return f"{one}[,...]" if self.may_vary and one else one

    @property
    def _metavar(self) -> str:
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
        """Its default as a user would type it; empty if there is none."""
        return self.as_text(self.default)

    def as_text(self, value: Any) -> str:
        """Return a value of it as a user would type it; the meaning of None if it is unset."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return ",".join(map(str, value)) or "none"
        return self.setting.unset if value is None else f"{value}"

    def kind_is(self, kind: type) -> bool:
        """Return whether its values are of a type, apart from constraints and None."""
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
