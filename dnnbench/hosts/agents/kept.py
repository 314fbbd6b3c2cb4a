"""An agent behind a keeper on another host. Losing the connection does not lose the trial.

Orders are numbered and sent again until the keeper confirms them. Events are numbered by the keeper
and kept there until they are acknowledged here. So each arrives once and in order, however often
the connection breaks. A connection is any stream of lines that leads to the keeper's relay.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.agents.clusters import GRACE_S
from dnnbench.hosts.agents.keeper_messages import NULL, FinalError, read_message
from dnnbench.sweep.event_checks import read_event, too_long
from dnnbench.sweep.inbox import Arrival
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import LINE_BYTES
from dnnbench.trial.messages import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.hosts.agents.keeper_messages import Welcome
    from dnnbench.sweep.inbox import Inbox
    from dnnbench.trial.messages import Order

BEAT_S: Final = 5.0
_MISSED_BEATS: Final = 3
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_CLOSE_TIMEOUT_S: Final = 5.0
_JOIN_TIMEOUT_S: Final = 1.0
_END, _LEAVE = b'{"end":true}\n', b'{"leave":true}\n'


class Stream(Protocol):
    """A program on a host with its input and output."""

    @property
    def errors(self) -> str:
        """The end of what it wrote to its standard error."""

    def read_line(self, timeout_s: float | None = None) -> bytes:
        """Return the next line with its end, nothing at the end; HostError if it is too late.

        Of a line of `LINE_BYTES` or more, return that many bytes.
        """

    def write(self, data: bytes) -> None:
        """Send data; HostError if the program does not take it."""

    def close(self) -> None:
        """End it, even while another thread reads. Idempotent."""


class KeptAgent:
    """A controller's handle of a keeper's agent; see :class:`dnnbench.sweep.agents.Agent`.

    ``AgentReady`` arrives once the agent is ready for this controller, whatever an earlier one left
    behind; orders sent before that may never be answered.

    Args:
        host: its name.
        open_relay: opens a new connection to the keeper; raises HostError.
        inbox: receives the events, and one HostError if the agent is lost for good.
        ports: ports that are held there for the roles.
        controller_id: identifies this controller to the keeper; every handle needs its own.
        succeeds: a controller known to be dead, whose connection the keeper need not wait for.
        purpose: shown to other users who ask for the host.
        grace_s: time that the keeper waits for a lost connection to come back.
        beat_s: interval at which both sides show that they are alive.
        on_trouble: called with one line for the user, from another thread.
    """

    def __init__(
        self,
        host: str,
        open_relay: Callable[[], Stream],
        inbox: Inbox,
        ports: list[int] | None,
        *,
        controller_id: str,
        purpose: str,
        succeeds: str | None = None,
        grace_s: float = GRACE_S,
        beat_s: float = BEAT_S,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.host = host
        self.ports = ports
        self._open_relay = open_relay
        self._inbox = inbox
        self._controller_id = controller_id
        self._purpose = purpose
        self._succeeds = succeeds
        self._grace_s = grace_s
        self._beat_s = beat_s
        self._on_trouble = on_trouble or (lambda _line: None)
        # Held while writing, and while changing what has to be written.
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._is_attached = False
        self._orders: deque[bytes] = deque()
        self._orders_confirmed = 0
        self._events: int | None = None
        self._farewell = b""
        self._is_troubled = False
        self._is_broken = False
        self._lost: HostError | None = None
        self._over = threading.Event()
        self._heard_s = time.monotonic()
        self._threads = [
            threading.Thread(target=target, name=f"{host} {target.__name__}", daemon=True)
            for target in (self._follow, self._beat)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, order: Order) -> None:
        """Send an order now, or as soon as there is a connection.

        Raises:
            HostError: the agent is lost for good, or this handle is closed.
        """
        with self._lock:
            if self._lost:
                raise self._lost
            if self._farewell or self._over.is_set():
                raise HostError(
                    "expected an open agent to send an order to, found it closed", where=self.host
                )
            self._orders.append(encode(order).rstrip())
            self._write(self._numbered(len(self._orders) - 1))

    def close(self) -> None:
        """End the agent and everything it started; return once they are gone. Idempotent.

        If the host cannot be reached, they end when the keeper's lease does.
        """
        self._part(_END)

    def leave(self) -> None:
        """Leave the agent running for the next controller; roles that still run are killed."""
        self._part(_LEAVE)

    def _part(self, farewell: bytes) -> None:
        """Send the last line and wait for the answer, even across a lost connection."""
        if self._lock.acquire(timeout=_CLOSE_TIMEOUT_S):  # another write may hang
            try:
                if not self._farewell:
                    self._farewell = farewell
                    self._write(farewell)
            finally:
                self._lock.release()
        self._over.wait(_CLOSE_TIMEOUT_S)
        self._over.set()
        if stream := self._stream:
            stream.close()
        for thread in self._threads:
            thread.join(_JOIN_TIMEOUT_S)

    # --- writing: with the lock held --------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        """Write if there is a connection; a failed write is repeated on the next one."""
        if self._stream is None or not self._is_attached:
            return
        try:
            self._stream.write(data)
        except HostError:
            self._is_attached = False
            self._stream.close()  # so that its reader connects again

    def _numbered(self, index: int) -> bytes:
        number = self._orders_confirmed + 1 + index
        return b'{"n":%d,"order":%b}\n' % (number, self._orders[index])

    def _confirm(self, number: int) -> None:
        while self._orders and self._orders_confirmed < number:
            self._orders.popleft()
            self._orders_confirmed += 1

    def _beat(self) -> None:
        """Show the keeper that we are alive, and which events have arrived."""
        while not self._over.wait(self._beat_s):
            with self._lock:
                self._write(b'{"beat":%d}\n' % (self._events or 0))

    # --- reading ----------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Stay connected until the end of the agent or of this handle."""
        try:
            self._stay_connected()
        except HostError as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001 - a silent thread would leave a trial waiting
            self._lose(HostError(f"lost: {type(error).__name__}: {error}"))
        finally:
            self._over.set()

    def _stay_connected(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._over.is_set():
            began_s = time.monotonic()
            trouble = self._converse()
            self._is_attached = False
            if self._over.is_set():
                return
            if time.monotonic() - self._heard_s >= self._grace_s:
                problem = f"lost: no connection for {self._grace_s:g} s: {trouble.problem}"
                kind = trouble.kind or "disconnected"
                raise HostError(problem, remedy=trouble.remedy).of_kind(kind)
            if self._heard_s > began_s:
                pause_s = _FIRST_PAUSE_S
            self._report(trouble)
            self._over.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _converse(self) -> HostError:
        """Open one connection and read it to its end; return why it ended.

        Raises:
            HostError: another connection would not help.
        """
        try:
            with contextlib.closing(self._open_relay()) as stream:
                self._stream = stream
                hello = {
                    "controller": self._controller_id,
                    "purpose": self._purpose,
                    "read_on_from": self._events,
                    "succeeds": self._succeeds,
                }
                stream.write(msgspec.json.encode({"hello": hello}) + b"\n")
                while not self._over.is_set():
                    self._handle(self._next_line(stream))
        except FinalError:
            raise
        except HostError as error:
            return error
        return HostError("the connection ended")

    def _next_line(self, stream: Stream) -> bytes:
        line = stream.read_line(_MISSED_BEATS * self._beat_s)
        if len(line) >= LINE_BYTES:
            raise FinalError(too_long(self.host).problem)
        if not line.endswith(b"\n"):
            last = [one_line(line) for line in stream.errors.splitlines()[-1:]]
            raise HostError(f"the connection ended{': ' + last[0] if last else ''}")
        return line

    def _report(self, trouble: HostError | None) -> None:
        """Report trouble to the user, and its end, once each."""
        if self._is_troubled != bool(trouble) and not self._farewell:
            if trouble is None:
                self._on_trouble(f"connection to {self.host} is back")
            elif self._events is None:
                self._on_trouble(f"{self.host}: {trouble.problem}, trying again")
            else:
                self._on_trouble(f"connection to {self.host} lost, trying again")
        self._is_troubled = bool(trouble)

    def _handle(self, line: bytes) -> None:
        self._heard_s = time.monotonic()
        message = read_message(self.host, line)
        if message.n is not None:
            if message.n > (self._events or 0):
                self._events = message.n
                self._arrived(message.event)
        elif message.beat is not None:
            with self._lock:
                self._confirm(message.beat)
        elif message.welcome:
            self._attach(message.welcome)
        elif message.left:
            self._over.set()
        elif reason := message.refused or message.error:
            raise reason.as_error()
        elif message.ended is not msgspec.UNSET:
            if self._farewell != _END:
                remedy = one_line(message.remedy or "see dnnbench status --orphans")
                raise FinalError(one_line(message.cause), remedy=remedy).of_kind(message.kind)
            self._over.set()

    def _attach(self, welcome: Welcome) -> None:
        """Begin, or go on where both sides were when the connection was lost."""
        is_first = self._events is None
        with self._lock:
            if is_first:
                self._events = welcome.events
                self._orders_confirmed = welcome.orders
            self._confirm(welcome.orders)
            self._is_attached = True
            orders = b"".join(map(self._numbered, range(len(self._orders))))
            self._write(orders + self._farewell)
        self._report(None)
        if is_first and bytes(welcome.ready) != NULL:
            self._arrived(welcome.ready)

    def _arrived(self, event: msgspec.Raw) -> None:
        """Pass an event on; after a malformed one, ignore all others."""
        if self._is_broken:
            return
        line = bytes(event)
        try:
            self._inbox.put(Arrival(self.host, read_event(self.host, line)), len(line))
        except HostError as error:
            # The conversation goes on, so that `close` and `leave` still reach the keeper.
            self._is_broken = True
            self._inbox.put(Arrival(self.host, error))

    def _lose(self, error: HostError) -> None:
        """Report the loss of the agent, unless it was closed or left."""
        lost = HostError(error.problem, where=self.host, remedy=error.remedy).of_kind(error.kind)
        with self._lock:
            self._lost = lost
        if not self._farewell:
            self._inbox.put(Arrival(self.host, lost))
