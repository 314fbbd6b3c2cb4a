"""The interface between a sweep and the sources of agents: this machine, or listed hosts."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from dnnbench.errors import HostError
from dnnbench.sweep.versions import refusal_of_agent
from dnnbench.trial.messages import AgentReady

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from dnnbench.sweep.inbox import Arrival, Inbox
    from dnnbench.sweep.placement import Host
    from dnnbench.trial.messages import Order

_SLICE_S: Final = 0.5
"""Longest single wait, so that a stop of this process shows as a gap between two waits."""
_STOPPED_S: Final = 1.0
"""A gap this much longer than a slice is a stop (SIGSTOP, a suspended machine), not a wait."""
_BACKLOG_S: Final = 10.0
"""Longest time to read what had arrived by a deadline; longer than that, it is a flood."""
_NAMED: Final = 3  # hosts in one line


class Agent(Protocol):
    """A running agent on one host; its events go to the inbox with which it was started.

    Attributes:
        host: the host's name.
        ports: ports that are held there for the roles; None if the kernel chooses them.
    """

    host: str
    ports: list[int] | None

    def send(self, order: Order) -> None:
        """Send an order.

        Raises:
            HostError: the agent is gone.
        """


class Agents:
    """The agents on which trials can run: their handles, their events, and those that are lost.

    Leaving the ``with`` block closes them.

    Args:
        agents: the running ones; their events go to the inbox.
        hosts: the hosts with an agent, in the inventory's order.
        inbox: receives the agents' events; read by this object alone.
        release: ends the agents, or detaches from those that keep running; never raises.
        missing: host -> why it has no agent, for hosts that were tried; in the inventory's order.
        data_directory: the data set's directory on hosts; None if the trial's spec names it.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        hosts: Sequence[Host],
        inbox: Inbox,
        *,
        release: Callable[[], None],
        missing: Mapping[str, HostError] | None = None,
        data_directory: str | None = None,
    ) -> None:
        self.hosts = list(hosts)
        self.missing = dict(missing or {})
        self.data_directory = data_directory
        self._agents = {agent.host: agent for agent in agents}
        self._inbox = inbox
        self._release: Callable[[], None] | None = release
        self._lost: dict[str, HostError] = {}
        self._looked_s = time.monotonic()
        self._stopped_s = 0.0
        self._is_interrupted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the agents, or detach from those that keep running. Idempotent."""
        self._inbox.close()
        release, self._release = self._release, None
        if release is not None:
            release()

    @contextmanager
    def share(self, hosts: Collection[str]) -> Iterator[Agents]:
        """Lend the agents on some hosts to a trial beside others, in a thread of its own.

        Their events reach nobody else in the meantime. The hosts that are lost are lost here, too.
        """
        inbox = self._inbox.split(hosts)
        share = Agents(
            [self._agents[host] for host in hosts],
            [host for host in self.hosts if host.name in hosts],
            inbox,
            release=lambda: None,
            data_directory=self.data_directory,
        )
        try:
            yield share
        finally:
            self._inbox.join(inbox)
            for host, error in share.lost.items():
                self.lose(host, error)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt, once, in the thread that waits for arrivals."""
        self._is_interrupted = True

    def await_ready(self, limit_s: float) -> dict[str, AgentReady]:
        """Wait until every agent has imported TensorFlow; return host -> its ``AgentReady``.

        An agent that ends, cannot import it, has other versions than this side, or is not ready in
        time is lost; the wait goes on for the others.

        Raises:
            HostError: no agent is left.
        """
        ready: dict[str, AgentReady] = {}
        deadline_s = self.now_s() + limit_s
        while awaited := self._agents.keys() - ready.keys() - self._lost.keys():
            arrival = self.next(deadline_s, self._agents)
            if arrival is None:
                for host in awaited:
                    self.lose(host, _late(host, limit_s))
                break
            if isinstance(arrival.what, HostError):
                ready.pop(arrival.host, None)
            elif error := refusal_of_agent(arrival.host, arrival.what):
                self.lose(arrival.host, error)
            elif isinstance(arrival.what, AgentReady):
                ready[arrival.host] = arrival.what
        if not ready:
            raise combined(self.lost)
        return {host: ready[host] for host in self._agents if host in ready}

    def ports(self, host: str) -> list[int] | None:
        """Return the ports held on a host for its roles; None if the kernel chooses them."""
        return self._agents[host].ports

    def send(self, host: str, order: Order) -> None:
        """Send an order to the agent on a host.

        Raises:
            HostError: the agent is gone; the host is lost.
        """
        try:
            self._agents[host].send(order)
        except HostError as error:
            self.lose(host, error)
            raise

    def next(self, deadline_s: float, hosts: Collection[str]) -> Arrival | None:
        """Return the next arrival from one of these hosts; None if there is none in time.

        What had arrived by the deadline is still returned after it. The loss of any other host is
        recorded, and its events are dropped.

        Args:
            deadline_s: on the clock of `now_s`.
            hosts: the hosts for which the caller waits.

        Raises:
            KeyboardInterrupt: see `interrupt`.
        """
        while True:
            if self._is_interrupted:
                self._is_interrupted = False
                raise KeyboardInterrupt
            left_s = deadline_s - self.now_s()
            if left_s < -_BACKLOG_S:
                return None
            arrival = self._inbox.get(min(left_s, _SLICE_S))
            if arrival is None:
                if left_s <= 0:
                    return None
                continue
            if isinstance(arrival.what, HostError):
                self.lose(arrival.host, arrival.what)
            if arrival.host in hosts:
                return arrival

    def drain(self) -> None:
        """Read what arrived between two trials.

        It belongs to neither, but may include the loss of a host, which has to be known before the
        next trial is placed.
        """
        deadline_s = self.now_s()
        while self.next(deadline_s, self._agents):
            pass

    @property
    def lost(self) -> dict[str, HostError]:
        """Lost host -> its error, as far as the inbox has been read."""
        return {host: self._lost[host] for host in self._agents if host in self._lost}

    def lose(self, host: str, error: HostError) -> None:
        """Record that nothing can run on a host any more; the first error is kept."""
        self._lost.setdefault(host, error)

    def now_s(self) -> float:
        """Return monotonic seconds, without those in which this process was stopped.

        A stop must not use up the hosts' time: what they sent during it can be read for as long as
        without the stop.
        """
        now_s = time.monotonic()
        gap_s, self._looked_s = now_s - self._looked_s, now_s
        if gap_s > _SLICE_S + _STOPPED_S:
            self._stopped_s += gap_s
        return now_s - self._stopped_s


class AgentSource(Protocol):
    """A source of agents: this machine, or listed hosts."""

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,
        log_dir: Path,
        notify: Callable[[str], None],
    ) -> Agents:
        """Start one agent per host, or attach to the agent already running there.

        Every agent's ``AgentReady`` arrives afterward, even if it was ready before.

        Args:
            hosts: hosts that may be used, in the inventory's order; later ones replace missing
                ones.
            needed: slots of the largest trial; hosts beyond them need not be started.
            log_dir: directory for ``agent-<host>.log``.
            notify: called with what is being waited for.

        Raises:
            HostError: no host could be used. Whatever is raised, no started agent keeps running.
        """


def combined(missing: Mapping[str, HostError]) -> HostError:
    """Combine the errors of several hosts into the first one, which then names the others."""
    (name, first), *others = missing.items()
    if not others:
        return HostError(first.problem, where=name, remedy=first.remedy).of_kind(first.kind)
    also = ", ".join(f"{host} ({error.problem})" for host, error in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    problem = f"{first.problem}; also missing: {also}{more}"
    return HostError(problem, where=name, remedy=first.remedy).of_kind(first.kind)


def _late(host: str, limit_s: float) -> HostError:
    return HostError(
        f"expected the agent within {limit_s:g} s",
        where=host,
        remedy="raise [run] ready_timeout_s if the host is slow",
    )
