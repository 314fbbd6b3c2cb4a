"""Every kind of cause that results know, from what a host reports to the outcome of the trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import pytest
from support.fake_cluster import FakeCluster

from dnnbench.errors import CauseKind
from dnnbench.trial.messages import (
    AgentFailed,
    AnyEvent,
    Connect,
    Go,
    Order,
    PortClash,
    Prepare,
    RoleExited,
    RoleFailed,
)

if TYPE_CHECKING:
    from support.fake_agent import Answer, FakeAgent

SERVER: Final = "ps:0"
PATIENCE_S: Final = 0.3


def sending(event: AnyEvent) -> Answer:
    """Return what answers an order with an event of the parameter server or the agent."""
    return lambda _agent, _order: [event]


def losing(kind: CauseKind) -> Answer:
    """Return what answers an order by the loss of the host, as its connection reports it."""

    def lose(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        agent.die(kind)
        return []

    return lose


CAUSES: Final[dict[CauseKind, dict[type[Order], Answer]]] = {
    "ssh-unreachable": {Go: losing("ssh-unreachable")},
    "ssh-auth": {Go: losing("ssh-auth")},
    "host-key": {Go: losing("host-key")},
    "version": {Prepare: losing("version")},
    "disconnected": {Go: sending(RoleFailed(task=SERVER, cause="UnavailableError: gone"))},
    "port": {Connect: sending(PortClash(task=SERVER, port=4000))},
    "out-of-memory": {Go: sending(RoleExited(task=SERVER, code=-9, lacked_memory=True))},
    "disk-full": {Go: sending(RoleFailed(task=SERVER, cause="OSError: No space left on device"))},
    "illegal-instruction": {Go: sending(RoleExited(task=SERVER, code=-4))},
    "crashed": {Go: sending(RoleExited(task=SERVER, code=-11))},
    "stalled": {Go: lambda _agent, _order: []},
    "data": {Prepare: sending(AgentFailed(task="agent", cause="no file", kind="data"))},
}
"""Kind -> what hosts do in a trial that fails by it."""


def test_every_kind_has_a_case() -> None:
    assert CAUSES.keys() == set(get_args(CauseKind))


@pytest.mark.parametrize("kind", CAUSES)
def test_the_kind_of_a_cause_is_in_the_outcome(kind: CauseKind) -> None:
    cluster = FakeCluster(CAUSES[kind], stall_timeout_s=PATIENCE_S)
    outcome = cluster.run()
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.kind == kind
    assert cluster.agent.running == []
