"""Settings that the trials of a report have in common; trials with others are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.errors import ResultsError
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import ProtocolName, ProtocolSpec, TrialSettings, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec


class Settings(TrialSettings, frozen=True, kw_only=True):
    """Settings common to all trials of a report, and those of each protocol.

    Of a setting that the sweep varies, this is one value of several (0 of ``label_noise``).
    """

    protocols: dict[ProtocolName, ProtocolSpec]


def settings_of(outcomes: Sequence[TrialOutcome]) -> Settings:
    """Return the settings that the outcomes share.

    Raises:
        ResultsError: there are no outcomes, or one has other settings than those before it.
    """
    if not outcomes:
        raise ResultsError("no trial has ended yet", remedy="run the sweep first")
    specs = [outcome.order for outcome in outcomes]
    first = max(specs, key=lambda spec: spec.parameter_servers > 0)
    first_of: dict[ProtocolName, TrialSpec] = {}
    for spec in specs:
        _check_same(spec, first)
        _check_same(spec, first_of.setdefault(spec.protocol.name, spec))
    common = {name: getattr(first, name) for name in TrialSettings.__struct_fields__}
    if any("label_noise" in spec.varied for spec in specs):
        common["data"] = msgspec.structs.replace(first.data, label_noise=0.0)
    return Settings(
        protocols={name: first_of[name].protocol for name in PROTOCOLS if name in first_of},
        **common,
    )


def _check_same(spec: TrialSpec, reference: TrialSpec) -> None:
    """Refuse a trial whose settings differ from the reference's, protocol by protocol."""
    compared = list(TrialSettings.__struct_fields__)
    if spec.protocol.name == reference.protocol.name:
        compared.append("protocol")
    elif not spec.parameter_servers:  # its protocol needs none
        compared.remove("parameter_servers")
    expected = dict(_flat(reference, compared))
    # The same bytes in another directory are the same data.
    free = {"data.directory", *map(place_of, {*spec.varied, *reference.varied})}
    for name, found in _flat(spec, compared):
        if name not in free and found != expected[name]:
            raise ResultsError(
                f"{name} is {found}, but {expected[name]} in {reference.id}",
                where=spec.id,
                remedy="trials with different data or settings are not mixed; report each sweep "
                "separately",
            )


def flat_settings(settings: Settings, varied: Iterable[str] = ()) -> dict[str, object]:
    """Return the settings of a sweep by dotted name, such as ``model.l2`` and ``downpour.epsilon``.

    Left out are its own name, its directories and the settings that it varies.
    """
    left_out = {"sweep", "data.directory", *map(place_of, varied)}
    found = dict(_flat(settings, TrialSettings.__struct_fields__))
    flat = {name: value for name, value in found.items() if name not in left_out}
    for protocol, spec in settings.protocols.items():
        for field, value in _flat(spec, spec.__struct_fields__):
            if f"protocol.{field}" not in left_out:
                flat[f"{protocol}.{field}"] = value
    return flat


def _flat(struct: msgspec.Struct, names: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Yield fields with their values; those of nested structs as ``model.l2``."""
    for name in names:
        value = getattr(struct, name)
        if isinstance(value, msgspec.Struct):
            inner = _flat(value, value.__struct_fields__)
            yield from ((f"{name}.{field}", part) for field, part in inner)
        else:
            yield name, value


def setting_warnings(settings: Settings, varied: Mapping[str, object]) -> list[str]:
    """Warn if the protocols also differ in what is not theirs, such as the learning rate."""
    own = {"name", *(option.name for known in PROTOCOLS.values() for option in known.options)}
    own |= varied.keys()  # each cell is compared with one of the same setting
    specs = list(settings.protocols.values())
    return [
        f"{name} differs between the protocols: "
        + ", ".join(f"{spec.name} {getattr(spec, name)}" for spec in specs)
        for name in ProtocolSpec.__struct_fields__
        if name not in own and len({getattr(spec, name) for spec in specs}) > 1
    ]
