"""The grid of a sweep: node counts x protocols x the combinations of settings that vary."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import msgspec

from dnnbench.settings.schema import Config, ProtocolConfig, TrainConfig
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.variation import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dnnbench.trial.spec import CellKey, ProtocolName
    from dnnbench.trial.variation import Value, Variation


def count_cells(config: Config) -> int:
    """Return the number of cells, without making them."""
    return sum(
        (1 if find_protocol(name).fixed_nodes else len(config.sweep.nodes))
        * sum(math.prod(map(len, block.values())) for block in _blocks(config, name))
        for name in config.sweep.protocols
    )


def variations(config: Config, protocol: ProtocolName) -> Iterator[Variation]:
    """Yield the combinations of the settings that vary and that the protocol takes.

    The last setting varies fastest. One empty combination if there is no such setting.
    """
    for block in _blocks(config, protocol):
        for values in itertools.product(*block.values()):
            yield tuple(zip(block, values, strict=True))


def cells(config: Config) -> list[CellKey]:
    """List the cells of a sweep."""
    return [
        msgspec.structs.replace(cell, variation=variation)
        for cell in config.sweep.cells
        for variation in variations(config, cell.protocol)
    ]


def combinations(config: Config) -> Iterator[Config]:
    """Yield the settings of every combination with the protocols that it is for.

    That is the settings themselves if none varies; otherwise, one protocol at a time.
    """
    if not config.varied:
        yield config
        return
    for name in config.sweep.protocols:
        alone = msgspec.structs.replace(config.sweep, protocols=(name,))
        for variation in variations(config, name):
            chosen = with_variation(config, variation)
            yield msgspec.structs.replace(chosen, sweep=alone)


def with_variation(config: Config, variation: Variation) -> Config:
    """Return the settings of one combination."""
    chosen = dict(variation)
    train = {name: x for name, x in chosen.items() if name in TrainConfig.__struct_fields__}
    protocol = {name: x for name, x in chosen.items() if name in ProtocolConfig.__struct_fields__}
    return msgspec.structs.replace(
        config,
        train=msgspec.structs.replace(config.train, **train),
        protocol=msgspec.structs.replace(config.protocol, **protocol),
    )


def without_effect(config: Config) -> str | None:
    """Return the key of a setting that varies, but that no protocol of the sweep takes."""
    taken = {
        name
        for protocol in config.sweep.protocols
        for block in _blocks(config, protocol)
        for name in block
    }
    return next((key for key in config.varied if key.partition(".")[2] not in taken), None)


def _blocks(config: Config, protocol: ProtocolName) -> list[dict[str, Sequence[Value]]]:
    varied = {key.partition(".")[2]: values for key, values in config.varied.items()}
    return blocks(protocol, varied, msgspec.structs.asdict(config.protocol))
