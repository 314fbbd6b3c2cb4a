"""What a keeper holds while it lives: the host, and ports for the roles.

Both are held by sockets, so the kernel gives them back however the keeper ends. Abstract Unix
sockets are names that all users of a network namespace share, and not files: a host is taken for
all of its users, and whoever has it is asked for a card. Anybody may bind such a name, so the
kernel is asked which user it is, and of the card only a little text is believed.
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
    """Who has a seat.

    Attributes:
        uid: None if there was no connection.
        card: what it says of itself, checked; None for nothing of use.
    """

    uid: int | None
    card: Card | None


def hold_host(scope: str, *, share: bool) -> socket.socket:
    """Take the host; return a socket that listens for those who ask who has it.

    Raises:
        HostProblem: somebody has it, and ``share`` is false.
    """
    for seat in range(_SHARERS if share else 1):
        held = _bound(_seat(scope, seat))
        if held is not None:
            held.listen(16)
            break
    else:
        raise _taken(_ask(_seat(scope, 0)) or Holder(None, None))
    if not share:
        # Only now that our seat is taken: two who looked first would both see an empty host.
        for seat in range(1, _SHARERS):
            holder = _ask(_seat(scope, seat))
            if holder is not None:
                held.close()
                raise _taken(holder)
    return held


def show_card(holder: socket.socket, card: Card) -> None:
    """Answer one who asks, and who may be anybody."""
    with contextlib.suppress(OSError):  # did not wait for it
        asker, _ = holder.accept()
        with asker:
            asker.setblocking(False)
            shown = {key: card[key] for key in _SHOWN}
            asker.send(json.dumps(shown).encode() + b"\n")


def hold_ports(port_range: Sequence[int], count: int) -> tuple[list[int], list[socket.socket]]:
    """Hold TCP ports for roles of this user; return them and what holds them.

    A port's socket is bound and never listens: roles bind the same port, since all ask for
    SO_REUSEPORT and belong to one user. That alone would let two clusters of one user have the same
    port, hence the abstract socket beside it.

    Raises:
        HostProblem: the range has too few free ones.
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
        raise HostProblem(problem, "widen [cluster] ports")
    return held, holders


def is_held(port: int) -> bool:
    """Tell whether a keeper holds this port."""
    mutex = _bound(_port_name(port))
    if mutex is None:
        return True
    mutex.close()
    return False


def _reserved(port: int) -> socket.socket | None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # No SO_REUSEADDR: whoever looks whether the port is free sets it, and two that set it and
        # do not listen may both have the port; a role that binds in that moment would be refused.
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
    """Take an abstract name; None if somebody has it."""
    mutex = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mutex.bind(name)
    except OSError:
        mutex.close()
        return None
    return mutex


def _ask(name: str) -> Holder | None:
    """Return who has a name; None if nobody listens there."""
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
    """Return of a card what is as it should be; None where it is no card."""
    if not isinstance(card, dict):
        return None
    words = {key: _shown(card.get(key)) for key in ("owner", "purpose")}
    if not all(words.values()):
        return None
    since = card.get("since")
    is_time = isinstance(since, (int, float)) and 0 <= since <= time.time() + _DAY_S
    return {**words, "since": since if is_time else None}


def _shown(text: Any) -> str:
    """Return some text for people, on one line; empty for what is no text."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN_CHARACTERS])


def _taken(holder: Holder) -> HostProblem:
    card = holder.card
    said = f"{card['owner']}{_since(card['since'])} for {card['purpose']}" if card else ""
    who = said or "a cluster that does not answer"
    if holder.uid is not None and not trust.is_trusted_user(holder.uid):
        who = f"another user, {trust.named_user(holder.uid)}"
        who += f": {said}" if said else ", whose process there is not a cluster's"
    return HostProblem(f"is taken by {who}", "wait, or use --share")


def _since(at_s: float | None) -> str:
    """Say a time of this host's clock, with the date if it is another day's."""
    if at_s is None:
        return ""
    then = time.localtime(at_s)
    is_today = time.strftime("%F", then) == time.strftime("%F")
    return time.strftime(" since %H:%M" if is_today else " since %F %H:%M", then)
