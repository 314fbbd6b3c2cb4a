"""Conditions under which the published figures stand beside the measured ones.

The report does not state everything. Batch size and meaning of an epoch are those of the
parameter-server examples that it built on; learning rate, dropout and L2 are unknown and therefore
not compared. A setting that is not listed as unknown counts as the report's only in its default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dnnbench.analysis.published import TABLE_2_DATA, TABLE_2_EPOCH_S, TABLE_2_MODEL
from dnnbench.text.words import list_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from dnnbench.analysis.common_settings import Settings

_UNKNOWN_OF_TRIALS: Final = frozenset(
    {"sweep", "epochs", "epoch_steps", "warmup_steps", "steps_per_run"}
)
"""Settings that the report does not state, or that do not change the seconds per epoch."""
_APART: Final = ("data", "model", "protocols")
_UNKNOWN_OF_PROTOCOLS: Final = frozenset(
    {
        "name",
        "learning_rate",
        "compensation",
        "lambda0",
        "mean_square_decay",
        "epsilon",
        "rate_warmup_epochs",
        "rate_decay_epochs",
        "rate_decay",
    }
)


def differences(settings: Settings) -> list[str]:
    """Return how the settings of a sweep differ from the report's, in words; empty if they do not.

    Where the trials ran is not a setting: see `shared_hosts`.
    """
    return [
        *_of_data_and_model(settings),
        *_changed(settings, {"parameter_servers": 1}, {*_UNKNOWN_OF_TRIALS, *_APART}),
        *(
            f"{name}: {text}"
            for name, spec in settings.protocols.items()
            if name in TABLE_2_EPOCH_S
            for text in _changed(spec, {}, _UNKNOWN_OF_PROTOCOLS)
        ),
    ]


def shared_hosts(own_hosts: Mapping[int, bool]) -> list[str]:
    """Return the reason that node counts without hosts of their own give; empty if there is none.

    Args:
        own_hosts: nodes -> whether every role had a machine and at least one core to itself.
    """
    shared = [str(nodes) for nodes, own in sorted(own_hosts.items()) if not own and nodes > 1]
    return [f"{list_text(shared)} nodes are not on hosts of their own"] if shared else []


def _of_data_and_model(settings: Settings) -> Iterator[str]:
    if settings.data.name not in TABLE_2_DATA:
        yield f"data {settings.data.name}, not {TABLE_2_DATA[0]}"
    if settings.model.name != TABLE_2_MODEL:
        yield f"model {settings.model.name}, not {TABLE_2_MODEL}"


def _changed(
    struct: msgspec.Struct, reports: Mapping[str, Any], unknown: Collection[str]
) -> Iterator[str]:
    """Yield the fields with another value than the report's, which is the default if not given."""
    for field in msgspec.structs.fields(struct):
        expected = reports.get(field.name, field.default)
        found = getattr(struct, field.name)
        if field.name not in unknown and found != expected:
            yield f"{field.name.replace('_', ' ')} {found}, not {expected}"
