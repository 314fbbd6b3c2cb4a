"""Commands in messages, completed with the options that they need to find the same hosts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMAND: Final = re.compile(r"\bdnnbench (?:provision|launch|status|stop|hosts trust)\b")
"""Commands that need hosts; ``run --resume`` knows those of its sweep."""


def finding_options(given: Mapping[str, object]) -> str:
    """Return those options of a command that another one needs to find the same hosts.

    Args:
        given: option -> value; None if it was not given.
    """
    import shlex  # commands about hosts only

    return shlex.join(
        word
        for name, value in given.items()
        if value
        for word in ((name,) if value is True else (name, str(value)))
    )


def completed(text: str, options: str) -> str:
    """Add the options to the commands in a message, so that a cure can be pasted."""
    return _COMMAND.sub(lambda command: f"{command[0]} {options}", text) if options else text
