"""``status`` and ``stop``: report the clusters on this host, and end them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from . import directory, holdings, marks, peers, ports
from .state import START_TIMEOUT_S, State, all_states, card, is_here, is_kept, scope
from .wire import HostProblem, decoded

if TYPE_CHECKING:
    from .state import Record
    from .wire import Answer, Request

_ASK_TIMEOUT_S = 3.0
_ANSWER_BYTES = 1 << 20
_END_TIMEOUT_S = 10.0
_KILL_TIMEOUT_S = 5.0
_PAUSE_S = 0.02


def status(request: Request) -> Answer:
    """Return the clusters running here, and what is left of clusters without a keeper.

    Args:
        request: ``directory``.

    Returns:
        ``clusters``: each keeper's answer, with the number of its agent's processes;
        ``orphans``: {cluster, host, pids}, without pids if only files are left. A directory
        without a record may belong to a start that is under way; it counts as an orphan only once
        a start would have timed out.
    """
    name = scope(request.get("scope"))
    home = directory.safe(request["directory"])
    processes: dict[str, list[int]] = {}
    for process in marks.marked():
        # Other directories have their own keepers.
        if process.state.startswith(home + os.sep):
            processes.setdefault(process.state, []).append(process.pid)
    clusters, orphans = [], []
    for state in all_states(home):
        directory.safe(home, state.path)
        record = state.read()
        pids = processes.pop(state.path, [])
        if record is not None and not is_here(record, name):
            continue
        if record is not None and is_kept(record):
            clusters.append({**_card(state, record), "processes": len(pids)})
        elif record is not None or pids or state.age_s > START_TIMEOUT_S:
            orphans.append({"cluster": state.cluster, "host": state.host, "pids": pids})
    for path, pids in processes.items():
        cluster, host = path.split(os.sep)[-2:]
        orphans.append({"cluster": cluster, "host": host, "pids": pids})
    return {"clusters": clusters, "orphans": orphans}


def stop(request: Request) -> Answer:
    """End a cluster's keeper and whatever is left of the cluster, if anything.

    Args:
        request: ``directory``, ``cluster``, ``host``; ``force``: even if a controller is attached;
            ``by``: the user who stops it.

    Returns:
        ``ended``: number of processes that were ended; ``left``: those that cannot be killed;
        ``ports_taken``: ports of the cluster that no keeper holds, and yet cannot be bound.

    Raises:
        HostProblem: a controller is attached.
    """
    state = State(request["directory"], request["cluster"], request["host"])
    directory.safe(state.directory, state.path)
    record = state.read() or {}
    before = set(marks.of_state(state.path))
    if is_kept(record):
        before.add(record["pid"])
        _end_keeper(state, record, request)
    _, left = marks.end(state.path, None, _KILL_TIMEOUT_S)
    if record.get("firewall"):
        from . import firewall  # rarely used

        firewall.lift(state.name)
    state.remove()
    return {
        "ended": len(before.difference(left)),
        "left": left,
        "ports_taken": [
            port
            for port in record.get("ports", [])
            if not holdings.is_held(port) and not ports.is_free(port)
        ],
    }


def _end_keeper(state: State, record: Record, request: Request) -> None:
    order = {"force": request.get("force", False), "by": request.get("by", "somebody")}
    answer = _ask(state, {"stop": order})
    if answer and "refused" in answer:
        raise HostProblem(answer["refused"]["problem"], answer["refused"]["remedy"])
    deadline_s = time.monotonic() + (_END_TIMEOUT_S if answer else 0)
    while is_kept(record) and time.monotonic() < deadline_s:
        time.sleep(_PAUSE_S)
    if is_kept(record):  # it hangs; the kernel ends its agent with it
        with contextlib.suppress(ProcessLookupError):
            os.kill(record["pid"], signal.SIGKILL)


def _card(state: State, record: Record) -> dict[str, Any]:
    """Return a keeper's answer, on top of its record if it does not answer."""
    silent = {
        "lease_left_s": None,
        "attached": False,
        "controller": None,
        "doing": "does not answer",
    }
    answer = _ask(state, {"status": True}) or {}
    return {**card(record), "alive": True, **silent, **answer}


def _ask(state: State, question: dict[str, Any]) -> dict[str, Any] | None:
    """Return a keeper's answer; None if it does not answer in time."""
    deadline_s = time.monotonic() + _ASK_TIMEOUT_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as keeper:
        keeper.settimeout(_ASK_TIMEOUT_S)
        try:
            os.chdir(state.path)  # an address has 108 bytes, a path may have more
            keeper.connect(os.path.basename(state.socket))
            if not peers.is_trusted(keeper):
                return None
            keeper.sendall(json.dumps(question).encode() + b"\n")
            answer = decoded(peers.read_line(keeper, _ANSWER_BYTES, deadline_s))
        except (OSError, ValueError):
            return None
    return answer if isinstance(answer, dict) else None
