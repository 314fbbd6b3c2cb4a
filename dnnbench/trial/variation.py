"""Variations: the values that a cell has of the settings that its sweep varies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.trial.protocols import PROTOCOLS, find_protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Value = bool | int | float | str | None
"""Of one setting."""
Variation = tuple[tuple[str, Value], ...]
"""Pairs of a setting and its value, in the order of the settings; hashable."""


def value_text(value: Value) -> str:
    """Write a value shortly, but so that no two values look alike: ``0.3``, ``1e-07``, ``sgd``."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def sort_key(value: Value) -> tuple[str, float]:
    """Return a key by which any two values sort: numbers by size, before words."""
    return ("", value) if isinstance(value, (int, float)) else (str(value), 0.0)


def variation_text(variation: Iterable[tuple[str, Value]]) -> str:
    """Write a variation on one line: ``learning_rate=0.3 batch_size=500``."""
    return " ".join(f"{name}={value_text(value)}" for name, value in variation)


def in_words(variation: Iterable[tuple[str, Value]]) -> str:
    """Write a variation for people: ``learning rate 0.3, batch size 500``."""
    return ", ".join(f"{name.replace('_', ' ')} {value_text(value)}" for name, value in variation)


def belongs_to(protocol: str, setting: str) -> bool:
    """Return whether a protocol takes a setting: one of its options, or one of no protocol's."""
    own = {option.name for option in find_protocol(protocol).options}
    return setting in own or all(
        setting != option.name for other in PROTOCOLS.values() for option in other.options
    )


def kept_by(protocol: str, variation: Variation) -> Variation:
    """Return the part of a variation that a protocol takes."""
    return tuple((name, value) for name, value in variation if belongs_to(protocol, name))


def blocks(
    protocol: str, varied: Mapping[str, Sequence[Value]], given: Mapping[str, Value]
) -> list[dict[str, Sequence[Value]]]:
    """Return the variations of a protocol as products: setting -> values, one dict per product.

    An option that counts only under one value of another is in the products with that value, so it
    does not multiply the others.

    Args:
        protocol: its name.
        varied: setting -> values.
        given: the options that are not varied.
    """
    known = find_protocol(protocol)
    taken = {name: values for name, values in varied.items() if belongs_to(protocol, name)}
    needs = {option.name: option.only_with for option in known.options}
    found: list[dict[str, Sequence[Value]]] = [taken]
    for other, _ in sorted({need for name in taken if (need := needs.get(name))}):
        fixed = known.fixed.get(other, given.get(other))
        found = [
            {
                name: (value,) if name == other else values
                for name, values in block.items()
                if _counts(needs.get(name), other, value)
            }
            for block in found
            for value in block.get(other, (fixed,))
        ]
    return found


def _counts(need: tuple[str, str] | None, other: str, value: Value) -> bool:
    return need is None or need[0] != other or need[1] == value
