"""The commands run, report and cost over a sweep on fake agents.

``python -m support.fake_sweep downpour,elastic`` adds unknown protocols to the table, and runs the
commands with them. It is a process of its own because the table is read when dnnbench is imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from dnnbench.trial.protocols import PROTOCOLS, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dnnbench.sweep.agents import Agents
    from dnnbench.sweep.placement import Host

MORE = (
    Protocol(name="elastic", title="Elastic Averaging SGD", baseline="downpour", step_cost=2.0),
    Protocol(name="ring", title="Ring all-reduce", needs_parameter_server=False),
)


class FakeSource:
    """Starts a fake agent on every host."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        del variables  # of processes, of which there are none

    def start(
        self,
        hosts: Sequence[Host],
        _needed: int,
        _log_dir: Path,
        _notify: Callable[[str], None],
    ) -> Agents:
        from dnnbench.sweep.agents import Agents
        from dnnbench.sweep.inbox import Arrival, Inbox
        from support.factories import make_ready
        from support.fake_agent import FakeAgent

        inbox = Inbox()
        for host in hosts:
            inbox.put(Arrival(host.name, make_ready()))
        agents = [FakeAgent(host.name, inbox, {}) for host in hosts]
        return Agents(agents, hosts, inbox, release=lambda: None)


SOURCE = "dnnbench.cli.run.LocalAgents", FakeSource
"""Name to replace -> replacement, so that ``dnnbench run`` uses fake agents."""


def walk(protocols: str) -> list[int]:
    """Run a sweep in the current directory, report it in every format and price it.

    Returns:
        The exit code of each command.
    """
    from dnnbench.cli import main
    from dnnbench.report.formats import FORMATS

    sweep = ["--protocols", protocols, "--nodes", "3,4", "--repeats", "2"]
    return [
        main(["run", *sweep, "--dataset", "synthetic-mnist"]),
        *(main(["report", "--format", kind]) for kind in FORMATS),
        main(["report", "--format", "json", "--output", "report.json"]),
        main(["cost"]),
        main(["run", *sweep, "--dry-run"]),
    ]


if __name__ == "__main__":
    PROTOCOLS.update({protocol.name: protocol for protocol in MORE})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*SOURCE)
        sys.exit(max(walk(sys.argv[1])))
