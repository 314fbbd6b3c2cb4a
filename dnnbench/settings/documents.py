"""Documents generated from the schema: dnnbench.toml, and the tables of docs/reference.md.

``python -m dnnbench.settings.documents`` brings both up to date in the current directory.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dnnbench.settings.schema import BY_PROFILE, TABLES, settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.settings.setting import Field

_HEAD: Final = """\
# Settings of a sweep. A line that starts with # and no space shows a default: remove the # to
# change it. Precedence, lowest first:
#   default < this file < environment (DNNBENCH_TRAIN_BATCH_SIZE=64) < option (--batch-size 64)
# A list, such as batch_size = [64, 128] or --batch-size 64,128, runs every combination.
# The report whose Table 2 is reproduced does not state batch size, learning rate, L2, dropout and
# lambda. Their defaults are our choice; the reason is given above each.
"""
_HOSTS: Final = """\
# Hosts to run on; if there are none, only this machine. Everything but the name is optional;
# address, port, user and key default to those of ~/.ssh/config.
# [[hosts]]
# name = "node1"
# address = "192.0.2.11"
# port = 22
# user = "bench"
# key = "~/.ssh/id_ed25519"
# data_address = "10.0.0.11"
# slots = 1
# usd_per_hour = 0.19
# connect = "ssh"
"""
_WIDTH: Final = 100
_SECTION: Final = re.compile(r"(<!-- settings: (?P<name>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def template() -> str:
    """Return the commented file that ``dnnbench init`` writes; unedited, it changes nothing."""
    parts = [_HEAD]
    for table in TABLES:
        parts.append(f"[{table}]  # {_about(table)}\n{_comment(_several(table))}")
        parts += [_entry(field) for field in _fields(table)]
    return "\n".join([*parts, _HOSTS])


def with_tables(page: str) -> str:
    """Return the reference with its tables of settings brought up to date.

    A section ``<!-- settings: all -->`` ... ``<!-- end -->`` holds every setting, and
    ``<!-- settings: run -->`` the names of the options of that command.
    """

    def replaced(section: re.Match[str]) -> str:
        text = _table() if section["name"] == "all" else _options(section["name"])
        return f"{section[1]}{text}\n{section[3]}"

    return _SECTION.sub(replaced, page)


def _entry(field: Field) -> str:
    """Write a setting: its help and the reason for its default, then the default or an example."""
    text = f"{_help(field)} {field.setting.reason}".strip()
    if field.default is None:
        return (
            _comment(f"{text} Unset: {field.setting.unset}. For example:")
            + f"# {field.name} = {_toml(field.setting.example)}\n"
        )
    return f"{_comment(text)}#{field.name} = {_toml(field.default)}\n"


def _help(field: Field) -> str:
    """Return the help of a setting, with its choices if the sentence does not name them."""
    text = field.setting.help
    named = all(choice in text for choice in field.choices)
    return text if named else f"{text} Either {' or '.join(field.choices)}."


def _comment(text: str) -> str:
    wrap = textwrap.TextWrapper(
        _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
    return "".join(f"{line}\n" for line in wrap.wrap(text))


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value) if isinstance(value, float) else msgspec.json.encode(value).decode()


def _table() -> str:
    """Lay out every setting as Markdown."""
    lines = ["| key | option | default | meaning |", "|---|---|---|---|"]
    for table in TABLES:
        lines.append(f"| **`[{table}]`** | | | {f'{_about(table)} {_several(table)}'.strip()} |")
        lines += [_row(field) for field in _fields(table)]
    return "\n".join(lines)


def _row(field: Field) -> str:
    default = field.default_text
    if field.key in BY_PROFILE:
        default = "the profile's"
    elif field.default not in (None, ()) and not field.kind_is(bool):
        default = f"`{default}`"
    meaning = _help(field).replace("|", "\\|")
    return f"| `{field.name}` | {_codes(field.flags)} | {default} | {meaning} |"


def _options(command: str) -> str:
    """List the options that a command takes, table by table."""
    return "\n".join(
        f"- `[{table}]`: {_codes(flags)}"
        for table in TABLES
        if (
            flags := [
                flag
                for field in _fields(table)
                if command in field.setting.commands
                for flag in field.flags
            ]
        )
    )


def _about(table: str) -> str:
    return (TABLES[table].__doc__ or "").partition("\n")[0]


def _several(table: str) -> str:
    """Return which settings of a table a sweep may vary; empty if none."""
    fields = _fields(table)
    alone = [field.name for field in fields if not field.may_vary]
    if len(alone) == len(fields):
        return ""
    others = f", except {', '.join(alone)}" if alone else ""
    return f"Each takes one value, or a list of values to combine in a grid{others}."


def _fields(table: str) -> list[Field]:
    return [field for field in settings().values() if field.table == table]


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    """Write both documents."""
    Path("dnnbench.toml").write_text(template(), encoding="utf-8")
    page = Path("docs/reference.md")
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
