r"""Text from outside, made safe to show: causes, host names, stored results, keys of a user's file.

Such text may hold what moves a cursor, changes colours, reorders what is read, ends a line, or is
markup where it goes. Each function here is for one kind of place. All of them show as an escape,
such as ``\x1b``, what a terminal would act on or a reader could not see, so that nothing vanishes
and nothing acts. None of them shows the login of a URL, wherever it comes from.
"""

from __future__ import annotations

import re
from typing import Any, Final

LIMIT: Final = 2000
"""Characters of one line. A cause may be megabytes long; its beginning tells what it is."""

HIDDEN: Final = "***"
"""Stands for a secret."""

_LOGIN_MOST: Final = 1000  # characters
_LOGIN: Final = re.compile(
    r"""(?:(?<=://)|(?<=https:/)|(?<=http:/))(?:  # a path as Python tidies it has one slash
        [^\s/?#"\\]+             # name:password, or a token alone
      | [^\s/?#"\\:@]+:(?!\d+/)[^\s"\\@]*  # with a slash in the password, which is no port
    )@""",
    re.VERBOSE,
)
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_MARKDOWN: Final = re.compile(
    r"""[\\`*|\[\]~]            # code, emphasis, cells of a table, links, struck text
      | (?<![^\W_])_ | _(?![^\W_])  # emphasis; inside a word it is a plain character
      | ^[#>] | ^[+-](?=\s)      # a heading, a quotation, an entry of a list""",
    re.VERBOSE,
)


def redacted(text: str) -> str:
    """Hide the logins of URLs: ``https://name:password@host`` becomes ``https://***@host``."""
    return _LOGIN.sub(f"{HIDDEN}@", text) if ":/" in text else text


def visible(text: str) -> str:
    """Replace a blank by a space and what else is not printable by its escape; hide logins."""
    text = redacted(text)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def one_line(text: str, limit: int = LIMIT) -> str:
    """Make a line for a terminal of any text.

    Args:
        text: as it came.
        limit: of the line, in characters; a longer text ends with how many are left out.
    """
    kept = redacted(text[: limit + _LOGIN_MOST])[:limit]  # none may be cut in two
    parts = (visible(part.strip()) for part in kept.splitlines())
    shown = " ".join(part for part in parts if part)
    if len(text) > limit or len(shown) > limit:  # escapes are longer than what they stand for
        return f"{shown[:limit]} ... ({len(text):,} characters)"
    return shown


def markdown(text: str) -> str:
    """Make a line of Markdown that shows the text, whatever Markdown or HTML is in it."""
    line = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\g<0>", line)


def csv_field(value: object) -> object:
    """Make a text safe for a field of CSV, where a spreadsheet would take some for a formula."""
    if not isinstance(value, str):
        return value
    line = one_line(value)
    return f"'{line}" if _FORMULA.match(line) else line


def json_text(document: Any) -> str:
    """Write a document as indented JSON whose strings hold nothing that a terminal acts on.

    Its data stay as they are, except for logins of URLs: JSON has escapes for every character.
    """
    import msgspec  # most commands print no JSON

    text = redacted(msgspec.json.format(msgspec.json.encode(document)).decode())
    return "\n".join(map(_json_line, text.split("\n"))) + "\n"


def _json_line(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else _json_escape(sign) for sign in line)


def _json_escape(sign: str) -> str:
    units = sign.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _escape(sign: str) -> str:
    return " " if sign.isspace() else sign.encode("unicode_escape").decode()
