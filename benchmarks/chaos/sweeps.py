"""One real sweep of two short trials, watched from outside: its moments, its end, its results.

Steps are paced: a worker waits between them without using a core. So the length of a trial hardly
depends on what else the machine does, and a moment that is meant is also hit.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.processes import environment

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from typing_extensions import Self

    from benchmarks.chaos.places import Place

EPOCHS, EPOCH_STEPS, PACE_MS, BATCH, WARMUP_STEPS = 5, 20, 30, 100, 4
TRAINING_S: Final = EPOCHS * EPOCH_STEPS * PACE_MS / 1e3
"""Length of the measured part of a trial; it may take longer."""
PROTOCOLS: Final = ("downpour", "dc-sgd")
DATASET: Final = "synthetic-mnist"
_OPTIONS: Final = (
    *("--repeats", "1", "--protocols", ",".join(PROTOCOLS), "--no-rehearsal"),
    *("--epochs", str(EPOCHS), "--epoch-steps", str(EPOCH_STEPS), "--batch-size", str(BATCH)),
    *("--pace", str(PACE_MS), "--steps-per-run", "4", "--warmup-steps", str(WARMUP_STEPS)),
    *("--retries", "0"),  # so that what came of the fault is the last outcome
)
_POLL_S: Final = 0.05
"""Between two looks, each of which takes a millisecond of a core that the sweep shares."""
_OVERHEAD_S: Final = 4.0
"""From the start of the command, in which it starts agents."""
_SET_UP_S: Final = 0.6
_LAST: Final = ("trained", "role_exited")
"""Events of a task that was started again whose last time counts; of others, the first."""


class Patience(NamedTuple):
    """How long to wait on this machine.

    Attributes:
        ready_s: until an agent or a role is ready.
        stall_s: for the progress of a worker.
        soon_s: until processes have ended that were told to.
        deadline_s: until the end of a command, after which it hangs.
    """

    ready_s: float
    stall_s: float
    soon_s: float
    deadline_s: float

    @classmethod
    def on(cls, slowness: float) -> Patience:
        """Return it for a machine that is slower than a quiet one by this factor."""
        return cls(30.0 * slowness, 4.0 * slowness, 5.0 * slowness, 150.0 * slowness)

    @property
    def options(self) -> tuple[str, ...]:
        """The options of a sweep."""
        return (
            *("--stall-timeout-s", f"{self.stall_s:g}", "--stall-warning-s", "2"),
            *("--ready-timeout-s", f"{self.ready_s:g}"),
        )


class MissedError(Exception):
    """The moment or the target was already gone."""


class EarlyEndError(Exception):
    """The sweep failed before a fault was injected."""


class HangError(Exception):
    """Something did not end."""


class StoppedError(Exception):
    """The suite was interrupted."""


class Moment(NamedTuple):
    """A moment in the life of a sweep.

    Attributes:
        phase: ``start`` of the command; ``set-up`` of a trial's roles; ``training``, the measured
            epochs; ``end`` of a trial, when the first worker has trained.
        trial: 0 for the first.
        share: 0 to 1, of the phase.
    """

    phase: str
    trial: int
    share: float

    def __str__(self) -> str:
        trial = "" if self.phase == "start" else f" of trial {self.trial + 1}"
        return f"{self.phase}{trial}, {self.share:.0%} in"


class Wiring(NamedTuple):
    """What a command reads from and writes to.

    Attributes:
        before: a prefix of the command.
        stdin: a descriptor; None for nothing to read.
        stdout: of both outputs; None for files.
        hang_up: closes the other end of them.
    """

    before: tuple[str, ...] = ()
    stdin: int | None = None
    stdout: int | None = None
    hang_up: Callable[[], None] = lambda: None


PLAIN: Final = Wiring()


class Timeline(NamedTuple):
    """Times of one trial, in seconds since 1970, as its events tell; infinite for what never was.

    Attributes:
        reserved_s: when every role had started.
        go_s: when the last worker had warmed up, and the measured part began.
        trained_s: when each worker had trained.
        end_s: when the last role had exited.
        pids: task -> process of its role.
    """

    reserved_s: float
    go_s: float
    trained_s: dict[str, float]
    end_s: float
    pids: dict[str, int]

    @classmethod
    def of(cls, events: Iterable[dict[str, Any]], tasks: set[str]) -> Timeline:
        """Read the times off a trial's events."""
        at: dict[tuple[str, str], float] = {}
        pids: dict[str, int] = {}
        for event in events:
            kind, task = event["event"], event["task"]
            if kind in _LAST or (kind, task) not in at:
                at[kind, task] = event["at_s"]
            if kind == "port_reserved":
                pids[task] = event["pid"]
        workers = {task for task in tasks if task.startswith("worker")}

        def last(kind: str, of: set[str]) -> float:
            return max((at.get((kind, task), float("inf")) for task in of), default=float("inf"))

        return cls(
            last("port_reserved", tasks),
            last("warmed_up", workers),
            {task: at.get(("trained", task), float("inf")) for task in workers},
            last("role_exited", tasks),
            pids,
        )


class Sweep:
    """A sweep and the command that runs it.

    Attributes:
        place: where it runs.
        directory: the user's, with the results in ``results``.
        is_on_hosts: whether it runs on the hosts, not on the controller alone.
        tasks: of each trial.
        dataset: to train on.
        more: options beside those of every sweep.
        patience: with its commands.
        wiring: of the newest command.
    """

    def __init__(
        self,
        place: Place,
        name: str,
        *,
        is_on_hosts: bool,
        nodes: int,
        seed: int,
        patience: Patience,
        stop: threading.Event,
    ) -> None:
        self.place = place
        self.directory = place.seat(name, with_hosts=is_on_hosts)
        self.is_on_hosts = is_on_hosts
        self.tasks = {"ps:0", *(f"worker:{index}" for index in range(nodes - 1))}
        self.patience = patience
        self.dataset = DATASET
        self.more: tuple[str, ...] = ()
        self._options = (*_OPTIONS, *patience.options, "--nodes", str(nodes), "--seed", str(seed))
        self._stop = stop
        self.wiring = PLAIN
        self._process: subprocess.Popen[bytes] | None = None
        self._trials: list[str] = []
        self._made_s = self._started_s = time.monotonic()

    # --- the command ------------------------------------------------------------------------------

    def start(self, *arguments: str, wiring: Wiring = PLAIN) -> Self:
        """Start a command; by default ``run``."""
        self.wiring = wiring
        options = (*self._options, "--dataset", self.dataset, *self.more)
        given = arguments or ("run", *options)
        command = self.place.command(*given, before=wiring.before)
        with contextlib.ExitStack() as stack:
            out = stack.enter_context((self.directory / "out.txt").open("ab"))
            err = stack.enter_context((self.directory / "err.txt").open("ab"))
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment(),
                stdin=subprocess.DEVNULL if wiring.stdin is None else wiring.stdin,
                stdout=out if wiring.stdout is None else wiring.stdout,
                stderr=err if wiring.stdout is None else wiring.stdout,
            )
        self._started_s = time.monotonic()
        return self

    @property
    def age_s(self) -> float:
        """Seconds since it was made; nothing in it took longer."""
        return time.monotonic() - self._made_s

    @property
    def pid(self) -> int:
        """The controller."""
        assert self._process
        return self._process.pid

    def await_that(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds while the command runs.

        Raises:
            MissedError: it ended before.
            HangError: it took too long.
        """
        while not condition():
            self._check(what)
            if self._ended():
                assert self._process
                if self._process.returncode:
                    raise EarlyEndError(f"failed before {what}: {self.last_line}")
                raise MissedError(f"ended before {what}")
            time.sleep(_POLL_S)

    def end(self) -> int:
        """Wait for the end of the command; return its exit code.

        Raises:
            HangError: it took too long.
        """
        while not self._ended():
            self._check("its end")
            time.sleep(_POLL_S)
        assert self._process
        return int(self._process.returncode)

    def kill(self) -> None:
        """Kill the command, whatever it does."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()

    def call(self, *arguments: str) -> tuple[int, str]:
        """Run another command of dnnbench to its end; return its exit code and output.

        Raises:
            HangError: it took too long.
        """
        mark = (self.directory / "out.txt").stat().st_size
        code = self.start(*arguments).end()
        return code, (self.directory / "out.txt").read_bytes()[mark:].decode(errors="replace")

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        if self._stop.wait(seconds):
            raise StoppedError

    def _ended(self) -> bool:
        assert self._process
        return self._process.poll() is not None

    def _check(self, what: str) -> None:
        if self._stop.is_set():
            raise StoppedError
        limit_s = self.patience.deadline_s
        if time.monotonic() > self._started_s + limit_s:
            raise HangError(f"waited {limit_s:g} s for {what}: {self.last_line}")

    @property
    def said(self) -> str:
        """What it wrote to standard error."""
        return (self.directory / "err.txt").read_text(errors="replace")

    @property
    def last_line(self) -> str:
        """The last line of that."""
        return (self.said.strip().splitlines() or [""])[-1]

    # --- moments ----------------------------------------------------------------------------------

    def await_moment(self, moment: Moment) -> None:
        """Wait for a moment of the running sweep.

        Raises:
            MissedError: it will not come.
        """
        wait_s = moment.share * _OVERHEAD_S
        if moment.phase != "start":
            reached: Callable[[Timeline], bool] = {
                "set-up": lambda line: line.pids.keys() == self.tasks,
                "training": lambda line: line.go_s < float("inf"),
                "end": lambda line: min(line.trained_s.values()) < float("inf"),
            }[moment.phase]
            self.await_that(lambda: reached(self.timeline(moment.trial)), str(moment))
            longest_s = 0.75 * TRAINING_S if moment.phase == "training" else _SET_UP_S
            wait_s = moment.share * longest_s
        until_s = time.monotonic() + wait_s
        self.await_that(lambda: time.monotonic() >= until_s, str(moment))

    def timeline(self, trial: int) -> Timeline:
        """Return the times of a trial's first attempt."""
        return Timeline.of(self._events(trial), self.tasks)

    def _events(self, trial: int) -> list[dict[str, Any]]:
        try:
            name = self.trials[trial]
            text = (self.path / "trials" / name / "events.jsonl").read_text()
        except (OSError, LookupError):
            return []
        return [json.loads(line) for line in text.split("\n")[1:-1]]

    # --- results ----------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The sweep's directory.

        Raises:
            LookupError: there is none yet.
        """
        # A new one is made under a hidden name; what fills a disk is no directory.
        found = [path for path in self.directory.glob("results/[!.]*") if path.is_dir()]
        if not found:
            raise LookupError("no sweep")
        return found[0]

    @property
    def trials(self) -> list[str]:
        """The names of the trials, in the order in which they run."""
        if not self._trials:
            plan = json.loads((self.path / "plan.json").read_bytes())
            self._trials = [order["id"] for order in plan["content"]["orders"]]
        return self._trials

    def lines(self) -> list[str]:
        """Return the stored outcomes, one JSON line each; a torn last one is left out."""
        try:
            return (self.path / "trials.jsonl").read_text().split("\n")[1:-1]
        except (OSError, LookupError):
            return []

    def outcomes(self) -> dict[str, dict[str, Any]]:
        """Return the last outcome of each trial, as stored."""
        found = map(json.loads, self.lines())
        return {outcome["order"]["id"]: outcome for outcome in found}


def is_alive(pid: int) -> bool:
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
