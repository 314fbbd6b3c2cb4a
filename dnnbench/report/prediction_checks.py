"""Tables of a prediction that hold it against measured growth: the published one, a rehearsal's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.analysis.published import SOURCE
from dnnbench.report.wording import excess_text, interval_text
from dnnbench.text.tables import Column, Table

if TYPE_CHECKING:
    from dnnbench.analysis.rehearsed import RehearsedGrowth
    from dnnbench.analysis.worthwhile import PublishedFit

_MS: Final = 1e3


def published(fits: list[PublishedFit]) -> Table:
    """Return how the published growth fits a queue at one core of the parameter server."""
    ratio = round(fits[0].step_s / fits[0].shorter_step_s) if fits else 0
    return Table(
        "Published growth from 4 to 12 nodes, as a queue for one core",
        [
            Column("Protocol", is_text=True),
            Column("step ms", "published"),
            Column("growth %", "published"),
            Column("CPU ms", "implied"),
            Column("full at", "implied"),
            Column("CPU ms", "this sweep"),
            Column("growth %", "this sweep"),
            Column("full at", "this sweep"),
            Column(f"1/{ratio} step", "this sweep"),
        ],
        [
            [
                fit.protocol,
                f"{fit.step_s * _MS:.1f}",
                f"{fit.growth_percent:+.1f}",
                f"{fit.implied_server_s * _MS:.2f}",
                f"{fit.implied_saturation:.0f}",
                f"{fit.server_s * _MS:.2f}",
                f"{fit.predicted_growth_percent:+.1f}",
                f"{fit.saturation:.1f}",
                f"{fit.shorter_saturation:.1f}",
            ]
            for fit in fits
        ],
        [
            f"Published: {SOURCE}; a step is an epoch at 4 nodes / 550 steps of 100 examples.",
            (
                "Implied: the parameter server's CPU time per update with which the model grows as "
                "published. Full at: workers that saturate one core."
            ),
            f"1/{ratio} step: the same at a step that is {ratio} times as short.",
        ],
    )


def rehearsal(rehearsed: list[RehearsedGrowth]) -> Table:
    """Return the growth of the paced rehearsal, predicted and measured."""
    nodes = {(growth.from_nodes, growth.to_nodes) for growth in rehearsed}
    ends = " and ".join(f"from {few} to {many} nodes" for few, many in sorted(nodes))
    return Table(
        f"Check: growth of the paced rehearsal {ends}, in %",
        [
            Column("Protocol", is_text=True),
            Column("pace ms"),
            Column("step ms"),
            Column("CPU %"),
            Column("predicted"),
            Column("to"),
            Column("measured"),
            Column("95 % interval"),
        ],
        [
            [
                growth.protocol,
                f"{growth.pace_ms:g}",
                f"{growth.step_s * _MS:.1f}",
                f"{100 * growth.utilization:.0f}",
                f"{growth.predicted_percent:+.1f}",
                f"{growth.longest_percent:+.1f}",
                excess_text(growth.measured.percent if growth.measured else None),
                interval_text(growth.measured),
            ]
            for growth in rehearsed
        ],
        [
            (
                "Predicted from the step and the parameter server's CPU time with the fewest "
                "nodes; CPU %: its utilization with the most. To: if updates were exponential."
            )
        ],
    )
