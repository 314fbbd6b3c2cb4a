"""Numbers and durations as every screen and report writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def about_text(seconds: float | None) -> str:
    """Write an estimated duration, or that there is none."""
    return "no estimate yet" if seconds is None else f"about {duration_text(seconds)}"


def duration_text(seconds: float) -> str:
    """Write a duration as precisely as a waiting person needs it."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min {rest_s:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def seconds(value: float) -> str:
    """Write seconds with two decimals, as in Table 2, and with more below one second."""
    if value >= 1.0:
        return f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"  # noqa: PLR2004  # three digits


def count_text(number: float, noun: str) -> str:
    """Write a number with its noun in the singular or plural."""
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


def list_text(words: Sequence[str]) -> str:
    """Write ``a``, ``a and b`` or ``a, b and c``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
