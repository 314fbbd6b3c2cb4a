"""``[sweep]``, ``[run]`` and ``[cost]``: the trials, their timeouts and their prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from dnnbench.settings.setting import CLUSTER, PRICED, PROVISIONED, Setting
from dnnbench.settings.values import LocalPath, Name, Price, Seconds
from dnnbench.trial.protocols import PROTOCOLS, find_protocol, parameter_servers_of
from dnnbench.trial.spec import CellKey, Nodes, ProtocolName, grid

if TYPE_CHECKING:
    from dnnbench.trial.spec import TrialSpec

# Upper bounds, here and in the other tables, keep a typing error from filling the memory or
# overflowing a clock. None of them limits a realistic measurement.
Share = Annotated[float, Meta(gt=0, le=1)]
Hours = Annotated[float, Meta(gt=0, le=10_000)]
Limit = Annotated[float, Meta(gt=0, le=1_000_000_000)]
Throughput = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f=]{1,100}=[0-9.]{1,12}\Z",
        description="TYPE=EXAMPLES_PER_S, such as g5.xlarge=40000",
    ),
]


class SweepConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Trials of a sweep."""

    profile: Annotated[
        Literal["quick", "paper", "delay", "smoke"],
        Setting(
            "quick: 3 repeats of 2 epochs; paper: 20 repeats of 20 epochs; delay: 5 repeats of 12 "
            "nodes at a learning rate that delay compensation withstands and downpour does not; "
            "smoke: 1 epoch of 100 steps.",
            "quick and delay take minutes on 2 cores; paper is what the report ran, and takes "
            "hours; smoke shows within a minute that everything works. Other keys in this file "
            "override a profile in this file.",
        ),
    ] = "quick"
    nodes: Annotated[
        tuple[Nodes, ...],
        Meta(min_length=1),
        Setting(
            "Node counts: parameter servers and workers together; under all-reduce every node is a "
            "worker, and sequential always has one node.",
            "As in Table 2.",
            commands=(*PROVISIONED, "manifest"),
            metavar="N,N,...",
        ),
    ] = (4, 8, 12)
    parameter_servers: Annotated[
        int,
        Meta(ge=1, le=999),
        Setting(
            "Parameter servers among the nodes.",
            commands=PROVISIONED,
            option="--ps",
            metavar="K",
        ),
    ] = 1
    protocols: Annotated[
        tuple[ProtocolName, ...],
        Meta(min_length=1),
        Setting(
            f"Protocols: one or more of {', '.join(PROTOCOLS)}.",
            commands=PROVISIONED,
        ),
    ] = ("downpour", "dc-sgd")
    repeats: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Trials per node count, protocol and combination of settings.",
            "Several, so that every mean has an interval. Set by the profile.",
        ),
    ] = 3
    parallel: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Trials to run side by side, each on hosts of its own.",
            "One, because trials that share a network or a machine disturb each other's times. "
            "Accuracy does not depend on it as long as every host has its own cores.",
            metavar="N",
        ),
    ] = 1
    rehearsal: Annotated[
        bool,
        Setting(
            "On this machine, also measure growth with steps paced so that its cores suffice.",
            "Roles that share cores wait for these, which hides the wait for the parameter "
            "server, the growth of Table 2. Set by the profile.",
        ),
    ] = True
    seed: Annotated[
        int,
        Meta(ge=0, le=2**63 - 1),
        Setting("Seed that all others are derived from.", "The year of the report."),
    ] = 2017
    results_dir: Annotated[
        LocalPath,
        Setting(
            "Directory of the stored sweeps.",
            commands=("run", "report", "compare", "cost", "predict"),
            metavar="DIR",
        ),
    ] = "results"

    @property
    def cells(self) -> list[CellKey]:
        """The cells of the sweep, in the order given."""
        return grid(self.nodes, self.protocols)

    @property
    def largest(self) -> CellKey:
        """The cell of the most nodes; of those, one whose tasks need the most slots."""
        return max(self.cells, key=lambda cell: (cell.nodes, self.servers_of(cell)))

    @property
    def connects_all_hosts(self) -> bool:
        """Whether any two hosts may exchange tensors.

        Workers of some protocols do. Of trials side by side, each has its parameter servers on
        other hosts.
        """
        among = any(find_protocol(name).connects_workers for name in self.protocols)
        return among or self.parallel > 1

    def servers_of(self, cell: CellKey) -> int:
        """Return the parameter servers of a cell's trials."""
        return parameter_servers_of(cell.protocol, self.parameter_servers)


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Timeouts of a trial, what to do at the loss of a role, and limits of a whole run."""

    ready_timeout_s: Annotated[
        Seconds,
        Setting(
            "Seconds within which every task of a trial must be ready.",
            "The first import of TensorFlow from a slow disk takes long.",
            commands=CLUSTER,
        ),
    ] = 120.0
    stall_timeout_s: Annotated[
        Seconds,
        Setting(
            "Seconds without progress of a worker after which it counts as lost.",
            "A worker that has lost its parameter server would wait forever. In a paced sweep, the "
            "time that a run of steps takes by its pace comes on top, here and below.",
        ),
    ] = 120.0
    stall_warning_s: Annotated[
        Seconds,
        Setting(
            "Seconds without progress of a worker after which a note names it.",
            "Long before stall_timeout_s, so that somebody can look at the host.",
        ),
    ] = 30.0
    trial_timeout_s: Annotated[
        Seconds, Setting("Seconds after which a trial counts as failed.")
    ] = 3600.0
    on_worker_loss: Annotated[
        Literal["continue", "fail"],
        Setting(
            "At the loss of a worker, continue with the others, or fail the trial.",
            "Asynchronous workers do not need each other. The trial is then degraded: its figures "
            "are in no average. Synchronous protocols always fail.",
        ),
    ] = "continue"
    restart_workers: Annotated[
        int,
        Meta(ge=0, le=1000),
        Setting(
            "Times per trial that a lost worker is started again; never worker:0.",
            "It joins at the current parameters, in the epoch in which it was lost.",
            metavar="N",
        ),
    ] = 0
    retries: Annotated[
        int,
        Meta(ge=0, le=10),
        Setting(
            "Times that a trial is run again at once after a failure that may be transient.",
            "One, for a connection that broke or a process that was killed. Permanent causes, such "
            "as lack of memory, are never tried again; docs/reliability.md lists them.",
            metavar="N",
        ),
    ] = 1
    void_after: Annotated[
        int,
        Meta(ge=0, le=1000),
        Setting(
            "Failed repeats that make a cell void, 0 for none: it has no averages, and its other "
            "trials are skipped.",
            "Two: what fails often is no sample. --resume runs the failed and the skipped trials.",
            metavar="N",
        ),
    ] = 2
    restart_servers: Annotated[
        int,
        Meta(ge=0, le=1000),
        Setting(
            "Times per trial that a lost parameter server is started again, from its checkpoint.",
            "With 0 there are no checkpoints, and a loss fails the trial; so it does for "
            "synchronous protocols. Otherwise the workers repeat their epoch, and the trial is "
            "degraded.",
            metavar="N",
        ),
    ] = 0
    checkpoint_s: Annotated[
        Seconds,
        Setting(
            "Seconds between two checkpoints of a parameter server.",
            "A lost one is set back by so much at most. Written beside the training, on its host.",
        ),
    ] = 5.0
    max_hours: Annotated[
        Hours | None,
        Setting(
            "Start no trial that would end later than this many hours after the command began.",
            "Finished trials are kept; --resume runs the others, with hours of its own.",
            unset="no limit",
            example=2.0,
            metavar="H",
        ),
    ] = None
    max_cost_usd: Annotated[
        Limit | None,
        Setting(
            "Start no trial that would make the machines of this command cost more USD.",
            "Needs hosts, or usd_per_hour: this machine alone has no price.",
            unset="no limit",
            example=5.0,
            option="--max-cost",
            metavar="USD",
        ),
    ] = None

    def checkpoints_every_s(self, spec: TrialSpec) -> float:
        """Return the seconds between two checkpoints in a trial; 0 where none could be used."""
        is_used = self.restart_servers > 0 and spec.parameter_servers > 0
        is_used = is_used and not find_protocol(spec.protocol.name).synchronous
        return self.checkpoint_s if is_used else 0.0


class CostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices for the cost of a sweep."""

    price_book: Annotated[
        LocalPath,
        Setting(
            "Price book: a name, or a .toml file, or a SkyPilot catalog (.csv).",
            "The month of the report.",
            commands=PRICED,
            metavar="NAME|FILE",
        ),
    ] = "gcp-2017-08"
    region: Annotated[
        Name | None,
        Setting(
            "Region of the prices.",
            unset="all that the book has; a catalog's types where each is cheapest",
            example="us-central1",
            commands=PRICED,
        ),
    ] = None
    machine: Annotated[
        Name | None,
        Setting(
            "Machine type of every node.",
            unset="n1-standard-4, the report's, if the book has it; else its cheapest with 4 vCPUs",
            example="n1-standard-8",
            commands=PRICED,
            metavar="TYPE",
        ),
    ] = None
    usd_per_hour: Annotated[
        Price | None,
        Setting(
            "USD per host and hour of your own hardware, instead of the book's price.",
            unset="the book's",
            example=0.25,
            commands=PRICED,
            metavar="USD",
        ),
    ] = None
    target_accuracy: Annotated[
        Share | None,
        Setting(
            "Test accuracy, 0 to 1, to reach: its cost is shown, and a grid is ranked by the time "
            "to it.",
            unset="no cost; in a grid, what half of the settings reach",
            example=0.95,
            commands=("run", "report", "cost"),
        ),
    ] = None
    throughput: Annotated[
        tuple[Throughput, ...],
        Setting(
            "Examples per second of machines that train alone, to compare plans with.",
            "Measure it there: a machine type's price says nothing about its speed.",
            commands=("cost",),
            metavar="TYPE=X,...",
        ),
    ] = ()
