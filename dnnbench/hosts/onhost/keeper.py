"""The keeper of one cluster's agent on one host: outlives SSH connections, ends with the lease.

It has one thread and no TensorFlow. It is the agent's parent, numbers its events, and keeps them
for the controller, whose connection may be lost and come back. It ends when the controller says so,
with the agent, on SIGTERM, or after ``lease_s`` without a controller. Then nothing of the cluster
is left.

========  ==========  ===================  =========================================================
state     controller  connection           left for
========  ==========  ===================  =========================================================
new       none yet    none                 attached; over after ``first_s``
attached  known       open                 waiting, if the connection breaks; free, if it leaves or
                                           is silent for ``grace_s``
waiting   known       none                 attached, if the same one comes back; free after
                                           ``grace_s``, when its roles are killed
free      none        none                 attached, by any controller; over after ``lease_s``
========  ==========  ===================  =========================================================

A *fence* keeps events of an earlier controller's trial from a new controller. It is raised when a
controller attaches before the agent is ready, or while events of earlier orders are still to come,
such as the ends of killed roles. Until the last of these has arrived, events are dropped. Then the
fence is lifted, and the controller gets ``agent_ready``: all further events are its own.
"""

from __future__ import annotations

import json
import select
from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, Tuple

from . import holdings
from .clock import Clock
from .ledger import Activity, Ledger
from .log import note
from .signals import Signals
from .state import card
from .visitors import Visitors, refuse, tell
from .wire import decoded

if TYPE_CHECKING:
    import socket

    from .agent_process import AgentProcess
    from .clock import Patience
    from .ledger import Message
    from .lines import Lines
    from .state import Record

_GREETING_TIMEOUT_S = 10.0
_POLL_STEP_S = 0.001  # poll() rounds down to it
_OVERLONG = "the agent wrote a line that does not end"
_MORE_MEMORY = "give this host fewer slots, or use one with more memory"
_STOP_ORDER = {"order": "stop"}
_READABLE, _WRITABLE = select.POLLIN, select.POLLOUT

Watched = Dict[int, Tuple[int, Callable[[], object]]]


class Keeper:
    """Serves one controller at a time, and commands that ask for its state."""

    def __init__(
        self,
        record: Record,
        patience: Patience,
        agent: AgentProcess,
        *,
        listener: socket.socket,
        claim: socket.socket,
    ) -> None:
        self._record = record
        self._agent = agent
        self._listener = listener
        self._claim = claim
        self._visitors = Visitors(listener)
        self._ledger = Ledger()
        self._activity = Activity()
        self._controller: str | None = None
        self._connection: Lines | None = None
        self._purpose: str = record["purpose"]
        self._is_fenced = False
        self._is_new = True
        self._clock = Clock(patience)
        self._signals = Signals(terminate=partial(self._finish, "SIGTERM"))
        self._cause: str | None = None
        self._agent_cause: str | None = None

    @property
    def cause(self) -> str:
        """Why it ended."""
        return self._cause or self._agent_cause or "the keeper failed"

    @property
    def agent_failed(self) -> bool:
        """Whether the agent ended by itself; its log has the reason."""
        return self._agent_cause is not None

    @property
    def card(self) -> Record:
        """Its description for other users."""
        return {**card(self._record), "purpose": self._purpose}

    def serve(self) -> str:
        """Serve until the end; return its cause."""
        while not self._is_over():
            self._turn()
        return self.cause

    def say_goodbye(self) -> None:
        """Tell all connected processes that the cluster has ended."""
        farewell = {"ended": self._agent.code, "cause": self.cause, "kind": self._agent.kind}
        if self.agent_failed and self._agent.lacked_memory:
            farewell["remedy"] = _MORE_MEMORY
        self._visitors.say_goodbye(farewell)

    def _is_over(self) -> bool:
        # The last events of an agent that has ended are kept for a controller whose connection was
        # lost, and for the first controller, which has not connected yet.
        is_awaited = self._connection is None and (self._is_new or self._controller is not None)
        return self._cause is not None or (self._agent_cause is not None and not is_awaited)

    def _finish(self, cause: str) -> None:
        self._cause = self._cause or cause

    def _turn(self) -> None:
        """Wait for the next input or deadline, and handle it."""
        watched = self._watched()
        poll = select.poll()
        for fd, (mask, _) in watched.items():
            poll.register(fd, mask)
        for fd, _ in poll.poll(self._wait_s() * 1000):
            _, act = watched[fd]
            act()
        if self._agent_cause is None and self._agent.has_exited:
            self._on_agent_end()
        self._check_clocks()

    def _watched(self) -> Watched:
        watched: Watched = {
            self._signals.reading: (_READABLE, self._signals.drain),
            self._listener.fileno(): (_READABLE, self._visitors.accept),
            self._claim.fileno(): (
                _READABLE,
                lambda: holdings.show_card(self._claim, self.card),
            ),
        }
        for peer in self._visitors:
            mask = _READABLE | (_WRITABLE if peer.is_pending else 0)
            watched[peer.reading] = (mask, partial(self._hear, peer))
        if self._agent_cause is None:
            if not self._ledger.is_full:
                watched[self._agent.lines.reading] = (_READABLE, self._on_output)
            if self._agent.lines.is_pending:
                watched[self._agent.lines.writing] = (_WRITABLE, self._agent.lines.flush)
        return watched

    # --- clocks -----------------------------------------------------------------------------------

    def _wait_s(self) -> float:
        """Return the time until the next deadline."""
        left_s = [self._clock.left_s(is_attached=self._controller is not None)]
        if any(peer is not self._connection for peer in self._visitors):
            left_s.append(_GREETING_TIMEOUT_S)
        return max(min(left_s), 0) + _POLL_STEP_S

    def _check_clocks(self) -> None:
        clock = self._clock
        if self._controller is not None and clock.left_s(is_attached=True) <= 0:
            note(f"no word from {self._controller} for {clock.grace_s:g} s")
            self._detach()
        if self._controller is None and clock.left_s(is_attached=False) <= 0:
            self._finish(f"its lease of {clock.lease_s:g} s without a controller ended")
        for peer in self._visitors.older_than(_GREETING_TIMEOUT_S):
            if peer is not self._connection:
                self._drop(peer)

    # --- the agent --------------------------------------------------------------------------------

    def _on_output(self) -> None:
        if self._pass_on() is None:
            self._on_agent_end()

    def _pass_on(self) -> list[bytes] | None:
        """Pass on the agent's output and return its lines; None at its end."""
        lines = self._agent.lines.read()
        for line in lines or ():
            self._pass_on_event(line)
        return lines

    def _pass_on_event(self, line: bytes) -> None:
        try:
            event = decoded(line)
        except ValueError:
            event = line.decode(errors="replace")  # not an event; the controller reports it
            line = json.dumps(event).encode()
        if isinstance(event, dict):
            self._activity.happened(event)
        if self._controller is None or (self._is_fenced and not self._activity.is_clear):
            return
        if self._is_fenced:
            self._is_fenced = False
            line = json.dumps(self._activity.ready).encode()
        line = self._ledger.add(line)
        if self._connection:
            self._connection.write(line)

    def _on_agent_end(self) -> None:
        """Pass on its last events, and end its roles."""
        while self._pass_on():
            pass
        self._agent.end()
        is_overlong = self._agent.lines.is_overlong
        self._agent_cause = _OVERLONG if is_overlong else self._agent.last_words
        note(self._agent_cause)

    # --- controllers ------------------------------------------------------------------------------

    def _hear(self, peer: Lines) -> None:
        """Handle what a peer has written, and write what it can take."""
        if not peer.is_open:  # closed earlier in this turn
            return
        peer.flush()
        lines = peer.read()
        for line in lines or ():
            if not peer.is_open:
                return
            try:
                message = decoded(line)
                if peer is self._connection:
                    self._obey(message)
                else:
                    self._greet(peer, message)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                refuse(peer, f"cannot be understood: {error!r}: {line[:80]!r}")
                self._drop(peer)
        if lines is None:
            self._drop(peer)

    def _greet(self, peer: Lines, message: Message) -> None:
        """Handle the first line of a peer, which is its request."""
        if "hello" in message:
            self._attach(peer, **message["hello"])
            return
        if "stop" in message:
            if self._connection and not message["stop"]["force"]:
                refuse(peer, f"a controller is attached: {self._purpose}", "wait, or use --force")
            else:
                peer.send({"stopping": self._record["pid"]})
                self._finish(f"stopped by {message['stop']['by']}")
                return  # it stays connected for the farewell
        elif "status" in message:
            tell(peer, self._answer())
        else:
            raise ValueError("expected hello, status or stop")
        self._drop(peer)

    def _answer(self) -> Message:
        """Return the card and the current state."""
        clock = self._clock
        left_s = clock.lease_s if self._connection else clock.left_s(is_attached=False)
        return {
            **self.card,
            "lease_left_s": round(left_s, 1),
            "attached": self._connection is not None,
            "controller": self._controller,
            "doing": self._activity.doing,
        }

    def _attach(
        self,
        peer: Lines,
        controller: str,
        purpose: str,
        read_on_from: int | None,
        succeeds: str | None = None,
    ) -> None:
        """Serve this controller, unless another is attached that it does not know to be dead."""
        is_same = controller == self._controller
        if self._controller not in (None, controller, succeeds):
            # Once its connection is lost, it soon comes back or is given up.
            refuse(
                peer,
                f"another controller is attached: {self._purpose}",
                "wait for its end, or run dnnbench stop --force",
                passing=self._connection is None,
            )
            self._drop(peer)
            return
        if read_on_from is not None and not is_same:
            refuse(peer, f"the agent gave up: it heard nothing for {self._clock.grace_s:g} s")
            self._drop(peer)
            return
        if is_same and self._connection:
            self._drop(self._connection)
        if read_on_from is None:
            self._detach()
            self._is_fenced = not self._activity.is_clear
        else:
            self._ledger.acknowledge(read_on_from)
        note(f"{controller} is attached: {purpose}")
        self._is_new = False
        self._controller, self._purpose, self._connection = controller, purpose, peer
        self._clock.attached()
        welcome = {
            "orders": self._ledger.orders,
            "events": self._ledger.events,
            "ports": self._record["ports"],
            "ready": None if self._is_fenced else self._activity.ready,
        }
        peer.send({"welcome": welcome})
        for line in self._ledger.kept:
            peer.write(line)

    def _obey(self, message: Message) -> None:
        """Handle a line of the controller."""
        assert self._connection
        self._clock.heard()
        if "order" in message:
            if self._ledger.take(message["n"]):
                self._order(message["order"])
        elif "beat" in message:
            self._ledger.acknowledge(message["beat"])
            self._connection.send({"beat": self._ledger.orders})
        elif "leave" in message:
            note(f"{self._controller} left")
            tell(self._connection, {"left": True})
            self._detach()
        elif "end" in message:
            self._finish("ended by its controller")

    def _order(self, order: Message) -> None:
        self._activity.ordered(order)
        self._agent.lines.send(order)

    def _detach(self) -> None:
        """Forget the controller, if there is one, and kill the roles that it left running."""
        if self._controller is None:
            return
        self._order(_STOP_ORDER)
        self._ledger.acknowledge(self._ledger.events)
        self._controller, self._purpose = None, self._record["purpose"]
        if self._connection:
            self._drop(self._connection)

    def _drop(self, peer: Lines) -> None:
        self._visitors.drop(peer)
        if peer is self._connection:
            self._connection = None
