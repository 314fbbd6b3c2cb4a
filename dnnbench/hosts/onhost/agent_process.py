"""The agent as its keeper's child: its pipes, and the end of it and of all it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from dnnbench import kernel

from . import marks
from .lines import Lines
from .log import last_line, note
from .wire import HostProblem

if TYPE_CHECKING:
    from .state import State
    from .wire import Request

_END_TIMEOUT_S = 2.0
_KILL_TIMEOUT_S = 5.0
_PAUSE_S = 0.02
_START = "dnnbench.training.start"
_AGENT = "dnnbench.training.agent"


class AgentProcess:
    """A process of ``dnnbench.training.agent``; the kernel kills it if the keeper dies.

    Attributes:
        lines: events to read, orders to write.
        code: exit code as in ``subprocess``; None before `end`.
    """

    def __init__(self, request: Request, state: State) -> None:
        self._state = state
        self._harmless = request.get("harmless", "")
        self._oom_kills = kernel.oom_kills()
        self.code: int | None = None
        python = os.path.join(state.directory, request["python"])
        path = [os.path.join(state.directory, part) for part in request["pythonpath"]]
        variables = {
            **_inherited(request["inherited"]),
            **request["environment"],
            **marks.environment(request["cluster"], state.path),
            "PYTHONPATH": os.pathsep.join(path),
            "DNNBENCH_CHECKPOINTS": state.checkpoints,
        }
        with open(state.agent_log, "ab") as log:
            try:
                self._process = subprocess.Popen(
                    [python, "-S", "-m", _START, _AGENT, "", state.models],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=state.directory,
                    env=variables,
                    start_new_session=True,
                )
            except OSError as error:
                problem = f"cannot start {python}: {error.strerror}"
                remedy = "run dnnbench provision for this host"
                raise HostProblem(problem, remedy, "version") from None
        assert self._process.stdin
        assert self._process.stdout
        with self._process.stdin as orders, self._process.stdout as events:
            self.lines = Lines(os.dup(events.fileno()), os.dup(orders.fileno()))

    @property
    def has_exited(self) -> bool:
        """Whether it has ended by itself; its process id is not reused before `end`."""
        pid = self._process.pid
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    @property
    def lacked_memory(self) -> bool:
        """Whether it was killed after the kernel had begun to kill for lack of memory."""
        return kernel.killed_for_memory(self.code, self._oom_kills)

    @property
    def kind(self) -> str | None:
        """The kind of its end, as in ``dnnbench.errors.CauseKind``; None where it is of none."""
        if self.lacked_memory:
            return "out-of-memory"
        if self.code == -signal.SIGILL:
            return "illegal-instruction"
        return "crashed" if self.code is not None and self.code < 0 else None

    @property
    def last_words(self) -> str:
        """How it ended, with the last line of its log that could say why."""
        if self.lacked_memory:
            return (
                "the agent was killed, probably for lack of memory: since it started, the kernel "
                "has killed a process there for that reason"
            )
        last = last_line(self._state.agent_log, self._harmless)
        how = f"ended with {self.code}"
        if self.code is not None and self.code < 0:
            how = f"was killed by {_signal_name(-self.code)}"
        return f"the agent {how}{last and ': ' + last}"

    def end(self) -> None:
        """Close its input, which ends it; then kill whatever is left. Idempotent."""
        if self.code is not None:
            return
        self.lines.close()
        deadline_s = time.monotonic() + _END_TIMEOUT_S
        while not self.has_exited and time.monotonic() < deadline_s:
            time.sleep(_PAUSE_S)
        # Before waiting for it: until then, no other process can have its session's number.
        _, left = marks.end(self._state.path, self._process.pid, _KILL_TIMEOUT_S)
        if left:
            note(f"cannot be killed: {left}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.code = self._process.wait(_END_TIMEOUT_S)


def _inherited(patterns: list[str]) -> dict[str, str]:
    """Return the variables that the agent gets of this process; ``LC_*`` stands for several."""
    ends = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return {k: v for k, v in os.environ.items() if k in patterns or k.startswith(ends)}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
