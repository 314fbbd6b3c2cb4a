"""``start``: start a cluster's keeper on this host, and with it the agent."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
import traceback
from typing import TYPE_CHECKING

from . import directory, holdings, process_table
from .agent_process import AgentProcess
from .clock import Patience
from .deadline import deadline
from .keeper import Keeper
from .log import last_line, note
from .state import START_TIMEOUT_S, State, is_kept, place, problem_of, scope
from .wire import HostProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .wire import Answer, Request

_KEEPER_TIMEOUT_S = 25
"""Less than `START_TIMEOUT_S`, so that a keeper can report its failure and clean up."""
_LOOK_S = 0.5


def run(request: Request) -> Iterator[Answer]:
    """Start a keeper; answer once it listens and has its agent.

    The keeper outlives this command. Where everything ends with the command that started it, as in
    a Slurm step, the request has ``stay``, and this command goes on until the keeper ends.

    Raises:
        HostProblem: the host is not provisioned, is taken, has too few free ports, or cannot write.
    """
    state = State(request["directory"], request["cluster"], request["host"])
    directory.safe(state.directory, request["python"], *request["pythonpath"])
    for path in request["requires"]:
        if not os.path.exists(os.path.join(state.directory, path)):
            problem = f"is not provisioned: {os.path.join(state.directory, path)} is missing"
            raise HostProblem(problem, "run dnnbench provision for this host", "version")
    if is_kept(state.read()):
        problem = f"cluster {request['cluster']} is already running there"
        raise HostProblem(problem, "run dnnbench status for this host")
    try:
        state.make()
        log = os.open(state.keeper_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        state.remove()
        raise problem_of(error, state.path) from None
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:  # not a session leader, so it can never get a terminal
                _become_daemon(log, writing)
                _keep(request, state, writing)
        finally:
            os._exit(0)
    os.close(writing)
    os.close(log)
    os.waitpid(child, 0)
    answer = _answer_from(reading, state)
    yield answer
    if request.get("stay"):
        signal.alarm(0)  # the deadline was that of the start
        while process_table.is_alive(answer["pid"], answer["started"]):
            time.sleep(_LOOK_S)


def _answer_from(reading: int, state: State) -> Answer:
    """Return the keeper's answer; fail if the keeper ended or takes too long."""
    ready, _, _ = select.select([reading], [], [], START_TIMEOUT_S)
    with open(reading, "rb") as file:
        text = file.readline() if ready else b""
    if not text:
        last = last_line(state.keeper_log)
        problem = f"the keeper did not start{last and ': ' + last}"
        raise HostProblem(problem, f"see {state.keeper_log}")
    answer: Answer = json.loads(text)
    if "problem" in answer:
        raise HostProblem(answer["problem"], answer["remedy"], answer.get("kind"))
    return answer


def _become_daemon(log: int, writing: int) -> None:
    """Close every file for whose end the caller would wait."""
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (null, 1), (log, 2)):
        os.dup2(source, target)
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd != writing:  # noqa: PLR2004 - beyond standard error
            with contextlib.suppress(OSError):  # the descriptor that lists them
                os.close(fd)


def _keep(request: Request, state: State, writing: int) -> None:
    """Hold what a cluster needs and serve; release everything, however it ends.

    After a failure later than the answer, the log stays, and so does the record, by which
    ``status`` and ``stop`` find the rest.
    """
    try:
        with contextlib.ExitStack() as stack:
            keeper = _announced(request, state, stack, writing)
            note(f"ends: {keeper.serve()}")
        state.remove(but_logs=keeper.agent_failed)
        keeper.say_goodbye()
    except BaseException:  # noqa: BLE001 - the log is all that is left
        traceback.print_exc()


def _announced(request: Request, state: State, stack: contextlib.ExitStack, writing: int) -> Keeper:
    """Return the keeper after the caller has been answered; exit the process if that fails."""
    try:
        with deadline(_KEEPER_TIMEOUT_S, "the start of the keeper"):
            keeper, answer = _prepared(request, state, stack)
            _tell(writing, answer)
    except (HostProblem, OSError) as error:
        problem = problem_of(error, state.path) if isinstance(error, OSError) else error
        stack.close()
        state.remove()
        with contextlib.suppress(OSError):
            _tell(writing, vars(problem))
        os._exit(1)
    return keeper


def _prepared(request: Request, state: State, stack: contextlib.ExitStack) -> tuple[Keeper, Answer]:
    """Acquire what a cluster needs, the agent last; the stack releases it in reverse order."""
    name = scope(request.get("scope"))
    claim = stack.enter_context(holdings.hold_host(name, share=request["share"]))
    ports, holders = holdings.hold_ports(request["port_range"], request["ports"])
    for holder in holders:
        stack.enter_context(holder)
    record = {
        **{key: request[key] for key in ("cluster", "host", "owner", "purpose")},
        **place(name),
        "since": time.time(),
        "pid": os.getpid(),
        "started": process_table.started(os.getpid()),
        "ports": ports,
        "package": request.get("package"),
        "launcher": request.get("launcher"),
        "socket": state.socket,
        "firewall": request["firewall"] is not None,
    }
    state.write(record)
    if request["firewall"]:
        from . import firewall  # rarely used

        firewall.admit(state.name, ports, request["firewall"]["addresses"])
        stack.callback(firewall.lift, state.name)
    listener = stack.enter_context(_listener(state))
    first_s = request.get("first_lease_s") or request["lease_s"]
    patience = Patience(request["grace_s"], request["lease_s"], first_s)
    agent = AgentProcess(request, state)
    stack.callback(agent.end)
    keeper = Keeper(record, patience, agent, listener=listener, claim=claim)
    return keeper, {
        "pid": os.getpid(),
        "started": record["started"],
        "ports": ports,
        "socket": state.socket,
    }


def _listener(state: State) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder, name = os.path.split(state.socket)
    os.chdir(folder)  # an address has 108 bytes, a path may have more
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    listener.bind(name)
    os.chmod(name, 0o600)
    listener.listen(16)
    os.chdir(state.directory)
    return listener


def _tell(writing: int, answer: Answer) -> None:
    """Answer the caller; fail if it is gone, since nobody would know of this cluster."""
    os.write(writing, json.dumps(answer).encode() + b"\n")
    os.close(writing)
