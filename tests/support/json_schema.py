"""Validation of a document against the keywords of JSON Schema that msgspec writes."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_ANNOTATIONS = {"$schema", "$defs", "title", "description", "default"}


def problems(
    value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "$"
) -> list[str]:
    """Return what is wrong with a document; an unknown keyword is an error of this checker."""
    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword in _ANNOTATIONS:
            continue
        found += _CHECKS[keyword](value, rule, schema, root, place)
    return found


def _reference(value: Any, rule: str, _: Any, root: dict[str, Any], place: str) -> list[str]:
    target: Any = root
    for part in rule.removeprefix("#/").split("/"):
        target = target[part]
    return problems(value, target, root, place)


def _any_of(value: Any, rule: list[Any], _: Any, root: dict[str, Any], place: str) -> list[str]:
    each = [problems(value, one, root, place) for one in rule]
    return [] if [] in each else min(each, key=len)


def _type(value: Any, rule: str, _schema: Any, _root: Any, place: str) -> list[str]:
    is_truth = isinstance(value, bool) and rule != "boolean"
    return [] if isinstance(value, _TYPES[rule]) and not is_truth else [f"{place}: not {rule}"]


def _properties(value: Any, rule: Any, _: Any, root: dict[str, Any], place: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [
        text
        for name, one in rule.items()
        if name in value
        for text in problems(value[name], one, root, f"{place}.{name}")
    ]


def _additional(value: Any, rule: Any, schema: Any, root: dict[str, Any], place: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    others = [name for name in value if name not in schema.get("properties", {})]
    if rule is False:
        return [f"{place}: unknown {name}" for name in others]
    return [t for name in others for t in problems(value[name], rule, root, f"{place}.{name}")]


def _required(value: Any, rule: list[str], _schema: Any, _root: Any, place: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [f"{place}: no {name}" for name in rule if name not in value]


def _items(value: Any, rule: Any, schema: Any, root: dict[str, Any], place: str) -> list[str]:
    if not isinstance(value, list):
        return []
    rest = value[len(schema.get("prefixItems", [])) :]
    if rule is False:
        return [f"{place}: too many"] if rest else []
    return [t for i, one in enumerate(rest) for t in problems(one, rule, root, f"{place}[{i}]")]


def _prefix(value: Any, rule: list[Any], _: Any, root: dict[str, Any], place: str) -> list[str]:
    if not isinstance(value, list):
        return []
    pairs = zip(value, rule, strict=False)
    return [t for i, (a, b) in enumerate(pairs) for t in problems(a, b, root, f"{place}[{i}]")]


def _least(value: Any, rule: int, _schema: Any, _root: Any, place: str) -> list[str]:
    is_short = isinstance(value, list) and len(value) < rule
    return [f"{place}: fewer than {rule}"] if is_short else []


def _most(value: Any, rule: int, _schema: Any, _root: Any, place: str) -> list[str]:
    is_long = isinstance(value, list) and len(value) > rule
    return [f"{place}: more than {rule}"] if is_long else []


def _bound(is_within: Callable[[Any, Any], bool], kinds: tuple[type, ...], words: str) -> Any:
    def check(value: Any, rule: Any, _schema: Any, _root: Any, place: str) -> list[str]:
        is_out = isinstance(value, kinds) and not is_within(value, rule)
        return [f"{place}: not {words} {rule}"] if is_out else []

    return check


_NUMBERS = (int, float)
_CHECKS: dict[str, Any] = {
    "$ref": _reference,
    "anyOf": _any_of,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "prefixItems": _prefix,
    "const": lambda v, rule, _s, _r, p: [] if v == rule else [f"{p}: not {rule!r}"],
    "enum": lambda v, rule, _s, _r, p: [] if v in rule else [f"{p}: {v!r} is not in {rule!r}"],
    "minItems": _least,
    "maxItems": _most,
    "minimum": _bound(operator.ge, _NUMBERS, "at least"),
    "maximum": _bound(operator.le, _NUMBERS, "at most"),
    "exclusiveMinimum": _bound(operator.gt, _NUMBERS, "above"),
    "exclusiveMaximum": _bound(operator.lt, _NUMBERS, "below"),
    "maxLength": _bound(lambda text, most: len(text) <= most, (str,), "of a length up to"),
}
