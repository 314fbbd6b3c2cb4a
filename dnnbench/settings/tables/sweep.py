"""``[sweep]``, ``[run]`` and ``[cost]``: the trials, their timeouts, their prices."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dnnbench.settings.setting import CLUSTER, PROVISIONED, Setting
from dnnbench.settings.values import LocalPath, Name, Positive, Seconds
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import ProtocolName

# Upper bounds, here and in the other tables, keep a typing error from filling the memory or
# overflowing a clock. They are far above what anybody measures.
Nodes = Annotated[int, Meta(ge=2, le=1000)]
Share = Annotated[float, Meta(gt=0, le=1)]


class SweepConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The trials of a sweep."""

    profile: Annotated[
        Literal["quick", "paper"],
        Setting(
            "quick: 3 repeats of 2 epochs; paper: 20 repeats of 20 epochs.",
            "quick takes minutes on 2 cores; paper is what the report measured, and takes hours. "
            "repeats and epochs in this file override a profile in this file.",
        ),
    ] = "quick"
    nodes: Annotated[
        tuple[Nodes, ...],
        Meta(min_length=1),
        Setting(
            "Node counts: parameter servers and workers together.",
            "The node counts of Table 2.",
            commands=PROVISIONED,
            metavar="N,N,...",
        ),
    ] = (4, 8, 12)
    parameter_servers: Annotated[
        int,
        Meta(ge=1, le=999),
        Setting(
            "Number of nodes that are parameter servers.",
            commands=PROVISIONED,
            option="--ps",
            metavar="K",
        ),
    ] = 1
    protocols: Annotated[
        tuple[ProtocolName, ...],
        Meta(min_length=1),
        Setting(f"One or more of {', '.join(PROTOCOLS)}."),
    ] = ("downpour", "dc-sgd")
    repeats: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Trials per node count and protocol.",
            "Several, so that every mean has a confidence interval. Set by the profile.",
        ),
    ] = 3
    seed: Annotated[
        int,
        Meta(ge=0, le=2**63 - 1),
        Setting("Seed from which all others are derived.", "The year of the report."),
    ] = 2017
    results_dir: Annotated[
        LocalPath,
        Setting(
            "Directory in which sweeps are stored.",
            commands=("run", "report", "cost"),
            metavar="DIR",
        ),
    ] = "results"


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Timeouts after which a trial counts as failed."""

    ready_timeout_s: Annotated[
        Seconds,
        Setting(
            "Seconds within which every task of a trial must be ready.",
            "The first import of TensorFlow from a slow disk takes a long time.",
            commands=CLUSTER,
        ),
    ] = 120.0
    stall_timeout_s: Annotated[
        Seconds,
        Setting(
            "Seconds without progress of a worker after which a trial fails.",
            "A worker that lost its parameter server never returns.",
        ),
    ] = 60.0
    trial_timeout_s: Annotated[Seconds, Setting("Seconds after which a trial fails.")] = 3600.0


class CostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of a sweep's time."""

    price_book: Annotated[
        LocalPath,
        Setting(
            "Price book: the name of a built-in one, or a file.",
            "The month of the report.",
            commands=("cost",),
            metavar="NAME|FILE",
        ),
    ] = "gcp-2017-08"
    machine: Annotated[
        Name,
        Setting(
            "Machine type of every node.",
            "The machine type of the report.",
            commands=("cost",),
            metavar="TYPE",
        ),
    ] = "n1-standard-4"
    usd_per_hour: Annotated[
        Positive | None,
        Setting(
            "Price of a node per hour, instead of the book's.",
            unset="the book's",
            example=0.25,
            commands=("cost",),
            metavar="USD",
        ),
    ] = None
    target_accuracy: Annotated[
        Share | None,
        Setting(
            "Test accuracy, 0 to 1, for which to show the cost of reaching it.",
            unset="none",
            example=0.95,
            commands=("cost",),
        ),
    ] = None
