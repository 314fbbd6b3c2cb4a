"""The table of protocols: all that the rest of the program has to know of each.

To add a protocol, add an entry here and a module to `dnnbench.training.protocols`. Settings, plan,
report, cost and training read this table, and refuse a name that is not in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dnnbench.errors import ConfigError, nearest

if TYPE_CHECKING:
    from dnnbench.trial.spec import ProtocolSpec


class Option(NamedTuple):
    """A key of ``[protocol]`` that a protocol takes; a field of `ProtocolSpec` has its name.

    Attributes:
        only_with: another option and the one value of it under which this one counts; None if it
            always does.
    """

    name: str
    only_with: tuple[str, str] | None = None


class Refusal(NamedTuple):
    """A setting of ``[train]`` that a protocol does not combine with.

    Attributes:
        value: of that setting which is refused.
        reason: ends "... does not combine with it: ".
    """

    name: str
    value: object
    reason: str


class Protocol(msgspec.Struct, frozen=True):
    """How gradients reach the parameters.

    Attributes:
        name: as in settings, stored results and tables.
        title: for people.
        baseline: name of the protocol that its overhead is measured against; None if it is one.
        compensates: adds something to a gradient, whose norm is measured.
        needs_parameter_server: otherwise every node is a worker.
        fixed_nodes: node count of its one cell, whatever those of the sweep; None for a cell at
            each of these.
        synchronous: workers wait for each other in every step.
        equal_steps: workers take equally many steps, those of the one with the fewest examples.
        options: keys of ``[protocol]`` that it takes.
        fixed: fields of `ProtocolSpec` that its name decides.
        refuses: settings that it does not combine with.
        step_cost: time of a step relative to Downpour's, to estimate how long a trial takes.
        every_step: why a worker of it pulls and pushes in every step; empty if it need not, or has
            nothing to pull. Synchronous protocols share a reason.
    """

    name: str
    title: str
    baseline: str | None = None
    compensates: bool = False
    needs_parameter_server: bool = True
    fixed_nodes: int | None = None
    synchronous: bool = False
    equal_steps: bool = False
    options: tuple[Option, ...] = ()
    fixed: dict[str, Any] = {}
    refuses: tuple[Refusal, ...] = ()
    step_cost: float = 1.0
    every_step: str = ""

    @property
    def connects_workers(self) -> bool:
        """Whether workers exchange tensors with each other, not only with parameter servers."""
        return not self.needs_parameter_server and self.fixed_nodes != 1

    def options_of(self, spec: ProtocolSpec) -> dict[str, Any]:
        """Return the options that count under these settings, by name."""
        return {
            name: getattr(spec, name)
            for name, only_with in self.options
            if only_with is None or getattr(spec, only_with[0]) == only_with[1]
        }


_COMPENSATES_ONE = (
    "a compensation is of one gradient, for the distance from the parameters that it was computed "
    "from; a sum of gradients has no such parameters, and no source defines one"
)
_SYNCHRONOUS = "its workers take every step together"

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="downpour", title="Downpour SGD"),
        Protocol(
            name="dc-sgd",
            title="Delay Compensated SGD",
            baseline="downpour",
            compensates=True,
            options=(
                Option("compensation"),
                Option("lambda0"),
                Option("mean_square_decay", only_with=("compensation", "adaptive")),
                Option("epsilon", only_with=("compensation", "adaptive")),
            ),
            step_cost=1.15,
            every_step=_COMPENSATES_ONE,
        ),
        Protocol(
            name="dc-sgd-c",
            title="Delay Compensated SGD, constant lambda",
            baseline="downpour",
            compensates=True,
            options=(Option("lambda0"),),
            fixed={"compensation": "constant"},
            step_cost=1.1,
            every_step=_COMPENSATES_ONE,
        ),
        Protocol(
            name="dc-sgd-a",
            title="Delay Compensated SGD, adaptive lambda",
            baseline="downpour",
            compensates=True,
            options=(Option("lambda0"), Option("mean_square_decay"), Option("epsilon")),
            fixed={"compensation": "adaptive"},
            step_cost=1.15,
            every_step=_COMPENSATES_ONE,
        ),
        Protocol(
            name="staleness-aware",
            title="Staleness-aware SGD",
            baseline="downpour",
            refuses=(
                Refusal(
                    "optimizer",
                    "adagrad",
                    "it divides the learning rate, but Adagrad's sum of squares would be divided "
                    "with it",
                ),
            ),
            step_cost=1.05,
            every_step="each gradient is divided by its own staleness, and the gradients of a sum "
            "differ in it",
        ),
        Protocol(
            name="sync",
            title="Synchronous SGD",
            baseline="downpour",
            synchronous=True,
            options=(Option("backup_workers"),),
            step_cost=1.3,
        ),
        Protocol(
            name="all-reduce",
            title="All-reduce SGD",
            baseline="downpour",
            needs_parameter_server=False,
            synchronous=True,
            equal_steps=True,
            step_cost=1.3,
        ),
        Protocol(
            name="sequential",
            title="Sequential SGD",
            needs_parameter_server=False,
            fixed_nodes=1,
            fixed={"n_fetch": 1, "n_push": 1, "local_rate": None},  # nothing is pulled or pushed
            step_cost=0.3,
        ),
    )
}
"""By name, in the order of a table's columns; a baseline comes before what is measured against it.
"""


def find_protocol(name: str) -> Protocol:
    """Return the protocol of this name.

    Raises:
        ConfigError: there is none.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    raise ConfigError(
        f"there is no protocol {name!r}, expected one of {', '.join(PROTOCOLS)}",
        remedy=nearest(name, PROTOCOLS),
    )


def why_every_step(name: str) -> str:
    """Return why a worker of this protocol pulls and pushes in every step; empty if it need not.

    Raises:
        ConfigError: there is no such protocol.
    """
    protocol = find_protocol(name)
    return _SYNCHRONOUS if protocol.synchronous else protocol.every_step


def position(name: str) -> int:
    """Return the protocol's place in the table, from 0.

    Raises:
        ConfigError: there is no such protocol.
    """
    return list(PROTOCOLS).index(find_protocol(name).name)


def parameter_servers_of(name: str, wanted: int) -> int:
    """Return how many of ``wanted`` parameter servers a trial of this protocol has: all or none.

    Raises:
        ConfigError: there is no such protocol.
    """
    return wanted if find_protocol(name).needs_parameter_server else 0
