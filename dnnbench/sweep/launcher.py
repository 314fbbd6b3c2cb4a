"""Runs trials on the agents of a cluster: waits for the agents, knows which of them are lost."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import TYPE_CHECKING

from dnnbench.errors import HostError, together
from dnnbench.sweep.trial_run import Failed, TrialRun
from dnnbench.trial.messages import AgentReady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agents import AgentHandle, Inbox
    from dnnbench.sweep.placement import Host
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec


class Launcher:
    """Runs trials on the agents of a cluster, one at a time."""

    def __init__(
        self,
        agents: Mapping[str, AgentHandle],
        hosts: Iterable[Host],
        inbox: Inbox,
        limits: RunConfig,
        data_directory: str | None = None,
    ) -> None:
        self._agents = agents
        self._hosts = {host.name: host for host in hosts}
        self._inbox = inbox
        self._limits = limits
        self._data_directory = data_directory
        self._lost: dict[str, HostError] = {}

    def await_agents(self) -> dict[str, AgentReady]:
        """Wait until every agent has imported TensorFlow; return what each said.

        An agent that ends, or is not ready in time, is ``lost``; the others are waited for.

        Raises:
            HostError: none is left.
        """
        ready: dict[str, AgentReady] = {}
        limit_s = self._limits.ready_timeout_s
        deadline_s = time.monotonic() + limit_s
        while awaited := self._agents.keys() - ready.keys() - self._lost.keys():
            try:
                host, event = self._inbox.get(timeout=max(deadline_s - time.monotonic(), 0.01))
            except queue.Empty:
                self._lost.update((host, _late(host, limit_s)) for host in awaited)
                break
            if isinstance(event, HostError):
                self._lost.setdefault(host, event)
                ready.pop(host, None)
            elif isinstance(event, AgentReady):
                ready[host] = event
        if not ready:
            raise together(self.lost())
        return {host: ready[host] for host in self._agents if host in ready}

    def lost(self) -> dict[str, HostError]:
        """Return host -> why nothing can run there any more; news that nobody awaited is read."""
        with contextlib.suppress(queue.Empty):
            while True:
                host, event = self._inbox.get_nowait()
                if isinstance(event, HostError):
                    self._lost.setdefault(host, event)
        return {host: self._lost[host] for host in self._agents if host in self._lost}

    def run(
        self,
        order: TrialSpec,
        placement: Mapping[str, str],
        cores: Mapping[str, int],
        watch: Callable[[AnyEvent], None],
        phase: Callable[[str], None],
    ) -> TrialOutcome:
        """Run one trial to its outcome, good or bad; no process of it is left on a living host.

        A host that is lost on the way fails the trial, and is ``lost`` from then on.

        Args:
            order: what to run.
            placement: task → host.
            cores: host → cores that its roles share.
            watch: is called with every event of the trial.
            phase: is called with what is waited for.

        Raises:
            KeyboardInterrupt: after the tear-down.
        """
        trial = TrialRun(
            order,
            placement,
            self._agents,
            self._inbox,
            self._lost,
            limits=self._limits,
            data_directory=self._data_directory,
            watch=watch,
            phase=phase,
        )
        try:
            trial.run(self._hosts, cores)
        except Failed as failed:
            trial.failed = failed
        finally:
            trial.tear_down()
        return trial.outcome()


def _late(host: str, limit_s: float) -> HostError:
    return HostError(
        f"expected the agent within {limit_s:g} s",
        where=host,
        remedy="raise [run] ready_timeout_s if the host is slow",
    )
