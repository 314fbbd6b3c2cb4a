r"""Text from outside, made safe to show: causes, host names, stored results, keys of a user's file.

Such text may move the cursor, change colors, reorder the line, end it, or act as markup. Each
function here makes text safe for one kind of output. All of them replace characters that a terminal
would act on or a reader could not see with an escape such as ``\x1b``, so nothing vanishes and
nothing acts. None of them shows the login of a URL.
"""

from __future__ import annotations

import re
from typing import Any, Final

LIMIT: Final = 2000
"""Maximum length of a line. A cause may be megabytes long; its beginning identifies it."""

HIDDEN: Final = "***"
"""Shown in place of a secret."""

_LOGIN_MOST: Final = 1000  # characters
_LOGIN: Final = re.compile(
    r"""(?:(?<=://)|(?<=https:/)|(?<=http:/))(?:  # pathlib reduces // to one slash
        [^\s/?#"\\]+             # name:password, or a token alone
      | [^\s/?#"\\:@]+:(?!\d+/)[^\s"\\@]*  # a slash in the password; not a port
    )@""",
    re.VERBOSE,
)
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
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
    """Replace whitespace with spaces and unprintable characters with escapes; hide logins."""
    text = redacted(text)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def one_line(text: str, limit: int = LIMIT) -> str:
    """Turn any text into one line that is safe on a terminal.

    Args:
        text: any text.
        limit: maximum length in characters; a longer text is cut, and its length is appended.
    """
    kept = redacted(text[: limit + _LOGIN_MOST])[:limit]  # no login is cut in two
    parts = (visible(part.strip()) for part in kept.splitlines())
    shown = " ".join(part for part in parts if part)
    if len(text) > limit or len(shown) > limit:  # escapes are longer than what they replace
        return f"{shown[:limit]} ... ({len(text):,} characters)"
    return shown


def markdown(text: str) -> str:
    """Escape a text as one line of Markdown that shows it literally."""
    line = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\g<0>", line)


def html(text: str) -> str:
    """Escape a text as one line of HTML, for an element or a quoted attribute."""
    line = one_line(text)
    for sign, escape in _HTML.items():
        line = line.replace(sign, escape)
    return line


def csv_field(value: object) -> object:
    """Make a text safe for a CSV field; a spreadsheet would run some texts as formulas."""
    if not isinstance(value, str):
        return value
    line = one_line(value)
    return f"'{line}" if _FORMULA.match(line) else line


def json_text(document: Any) -> str:
    """Return a document as indented JSON that contains nothing a terminal acts on.

    The data are unchanged, except for logins of URLs: JSON has an escape for every character.
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
