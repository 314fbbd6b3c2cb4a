"""The seat and the ports that a keeper holds while it runs.

Both are held by sockets, so the kernel releases them however the keeper ends. The names of abstract
Unix sockets are not files; all users of a network namespace share them. So a seat excludes the
host's other users, too, and its holder can be asked for a card that describes it. As any user may
bind such a name, the kernel is asked for the holder's user, and the card is checked and shortened.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any, Dict, NamedTuple

from . import peers, ports, trust
from .wire import HostProblem, decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

Card = Dict[str, Any]

_SHARERS = 64
_ASK_TIMEOUT_S = 2.0
_CARD_BYTES = 64 << 10
_SHOWN = ("cluster", "owner", "purpose", "since")
_SHOWN_CHARACTERS = 120
_DAY_S = 86400.0


class Holder(NamedTuple):
    """The holder of a seat.

    Attributes:
        uid: its user; None if there was no connection.
        card: its description of itself, checked; None if it gave no valid one.
    """

    uid: int | None
    card: Card | None


def hold_host(scope: str, *, share: bool) -> socket.socket:
    """Take a seat on the host; return a listening socket that answers queries about the owner.

    Raises:
        HostProblem: the host is taken, and ``share`` is false.
    """
    for seat in range(_SHARERS if share else 1):
        held = _bound(_seat(scope, seat))
        if held is not None:
            held.listen(16)
            break
    else:
        raise _taken(_ask(_seat(scope, 0)) or Holder(None, None))
    if not share:
        # Only after taking our seat: two keepers that looked first would both see a free host.
        for seat in range(1, _SHARERS):
            holder = _ask(_seat(scope, seat))
            if holder is not None:
                held.close()
                raise _taken(holder)
    return held


def show_card(holder: socket.socket, card: Card) -> None:
    """Answer one query, which may come from any user."""
    with contextlib.suppress(OSError):  # the asker did not wait
        asker, _ = holder.accept()
        with asker:
            asker.setblocking(False)
            shown = {key: card[key] for key in _SHOWN}
            asker.send(json.dumps(shown).encode() + b"\n")


def hold_ports(port_range: Sequence[int], count: int) -> tuple[list[int], list[socket.socket]]:
    """Hold TCP ports for this user's roles; return the ports and the sockets that hold them.

    A port's socket is bound but never listens: roles can bind the same port, because all set
    SO_REUSEPORT and belong to one user. For the same reason, two clusters of one user could both
    have the port, so an abstract socket excludes the other.

    Raises:
        HostProblem: the range has too few free ports.
    """
    first, last = port_range
    held: list[int] = []
    holders: list[socket.socket] = []
    for port in range(first, last + 1):
        if len(held) == count:
            break
        mutex = _bound(_port_name(port))
        if mutex is None:
            continue
        holder = _reserved(port) if ports.is_free(port) else None
        if holder is None:
            mutex.close()
            continue
        held.append(port)
        holders += [mutex, holder]
    if len(held) < count:
        for holder in holders:
            holder.close()
        problem = f"needs {count} ports in {first}-{last}, {len(held)} free"
        raise HostProblem(problem, "widen [cluster] ports", "port")
    return held, holders


def is_held(port: int) -> bool:
    """Return whether a keeper holds this port."""
    mutex = _bound(_port_name(port))
    if mutex is None:
        return True
    mutex.close()
    return False


def _reserved(port: int) -> socket.socket | None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # No SO_REUSEADDR: `ports.bound` sets it to test whether the port is free, and two sockets
        # that set it and do not listen can both have the port; a role that binds at that moment
        # would be refused.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("", port))
    except OSError:
        holder.close()
        return None
    return holder


def _seat(scope: str, number: int) -> str:
    return f"\0dnnbench/taken/{scope}/{number}"


def _port_name(port: int) -> str:
    return f"\0dnnbench/port/{port}"


def _bound(name: str) -> socket.socket | None:
    """Take an abstract name; None if another process has it."""
    mutex = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mutex.bind(name)
    except OSError:
        mutex.close()
        return None
    return mutex


def _ask(name: str) -> Holder | None:
    """Return the holder of a name; None if no process listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(_ASK_TIMEOUT_S)
        try:
            asker.connect(name)
        except ConnectionRefusedError:
            return None
        except OSError:
            return Holder(None, None)
        uid = peers.user_of(asker)
        try:
            line = peers.read_line(asker, _CARD_BYTES, time.monotonic() + _ASK_TIMEOUT_S)
            return Holder(uid, _checked(decoded(line)))
        except (OSError, ValueError):
            return Holder(uid, None)


def _checked(card: Any) -> Card | None:
    """Return the valid fields of a card; None if it is not a card."""
    if not isinstance(card, dict):
        return None
    words = {key: _shown(card.get(key)) for key in ("owner", "purpose")}
    if not all(words.values()):
        return None
    since = card.get("since")
    is_time = isinstance(since, (int, float)) and 0 <= since <= time.time() + _DAY_S
    return {**words, "since": since if is_time else None}


def _shown(text: Any) -> str:
    """Return a text shortened for people, on one line; empty if it is not a text."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN_CHARACTERS])


def _taken(holder: Holder) -> HostProblem:
    card = holder.card
    about = f"{card['owner']}{_since(card['since'])} for {card['purpose']}" if card else ""
    who = about or "a cluster that does not answer"
    if holder.uid is not None and not trust.is_trusted_user(holder.uid):
        who = f"another user, {trust.named_user(holder.uid)}"
        who += f": {about}" if about else ", whose process there is not a cluster's"
    return HostProblem(f"is taken by {who}", "wait, or use --share")


def _since(at_s: float | None) -> str:
    """Return a time of this host's clock as text, with the date unless it is today."""
    if at_s is None:
        return ""
    then = time.localtime(at_s)
    is_today = time.strftime("%F", then) == time.strftime("%F")
    return time.strftime(" since %H:%M" if is_today else " since %F %H:%M", then)
