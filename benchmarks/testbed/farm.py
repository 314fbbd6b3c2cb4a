"""Hosts with one SSH server each, and the commands that a user types for them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dnnbench
from benchmarks.testbed import sshd
from benchmarks.testbed.processes import Witness
from dnnbench.hosts.onhost.directory import mark_complete
from dnnbench.hosts.onhost.ports import is_free
from dnnbench.hosts.provision.wanted import environment_of
from dnnbench.settings.setting import ENVIRONMENT_PREFIX
from dnnbench.sweep.results import open_sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self

    from dnnbench.trial.outcome import TrialOutcome

TIMEOUT_S = 90.0
TINY = [
    *("--dataset", "synthetic-mnist", "--protocols", "downpour", "--repeats", "1"),
    *("--epochs", "1", "--batch-size", "2000", "--warmup-steps", "10"),
]
_POLL_S = 0.02
_SOON_S = 5.0


class Called(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document that it printed."""
        return json.loads(self.out)

    @property
    def last_line(self) -> str:
        """The last line of its standard error."""
        return self.err.strip().splitlines()[-1]


class Command:
    """A running command.

    Attributes:
        said: its standard error so far.
    """

    def __init__(self, directory: Path, *arguments: str, user: str | None = None) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
        kept.pop("SSH_AUTH_SOCK", None)
        if user:
            kept["LOGNAME"] = user
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dnnbench", *arguments],
            cwd=directory,
            env={
                **kept,
                "PYTHONPATH": str(Path(dnnbench.__file__).parent.parent),
                "PYTHONUNBUFFERED": "1",
                "COLUMNS": "200",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        self._out = ""
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=act) for act in (self._hear, self._read)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.result()

    def _hear(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for line in lines:
                with self._news:
                    self.said += line
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as file:
            self._out = file.read()

    def await_text(self, text: str) -> None:
        """Wait until it prints this on standard error."""
        with self._news:
            self._news.wait_for(
                lambda: text in self.said or not self._threads[0].is_alive(), TIMEOUT_S
            )
            assert text in self.said, self.said

    def await_event(self, kind: str, trial: str = "") -> list[dict[str, Any]]:
        """Wait for an event of this kind in the newest trial of the newest sweep.

        Args:
            kind: of the event.
            trial: the beginning of the trial's name.

        Returns:
            The events until now.
        """
        deadline_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline_s:
            events = self.events(trial)
            if any(event["event"] == kind for event in events):
                return events
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_POLL_S)  # returns early only if the command has ended
                break
        raise AssertionError(f"no {kind}: {self.said}")

    def events(self, trial: str = "") -> list[dict[str, Any]]:
        """Return the events of the newest trial of the newest sweep."""
        found = self.directory.glob(f"results/[!.]*/trials/{trial}*/events.jsonl")
        newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
        lines = newest.read_text().split("\n")[1:-1] if newest else []
        return [json.loads(line) for line in lines]

    def end_by(self, number: int) -> Called:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.result()

    def result(self, timeout_s: float = TIMEOUT_S) -> Called:
        """Wait for its end."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"no end within {timeout_s:g} s; said: {self.said}") from None
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        return Called(code, self._out, self.said)


class Farm:
    """Hosts, and a user's directories with a dnnbench.toml that lists them.

    Attributes:
        hosts: the servers.
        directory: where commands are called if not told otherwise.
    """

    def __init__(self, hosts: sshd.Hosts, directory: Path, slots: int) -> None:
        self.hosts = hosts
        lines = [
            "[ssh]",
            f'config = "{hosts.ssh_config}"',
            f'known_hosts = "{hosts.known_hosts}"',
        ]
        for host in hosts.configs:
            given = {"name": host.name, "address": host.address, "user": host.user, "key": host.key}
            lines += ["[[hosts]]", *(f'{key} = "{value}"' for key, value in given.items())]
            lines += [f"port = {host.port}", f"slots = {slots}"]
        self._settings = "\n".join(lines) + "\n"
        self._directory = directory
        self.directory = self.seat("user")

    @property
    def names(self) -> list[str]:
        """The names of the hosts."""
        return [host.name for host in self.hosts.sshds]

    def seat(self, name: str) -> Path:
        """Create a directory in which to run commands, with results of its own."""
        directory = self._directory / name
        directory.mkdir()
        (directory / "dnnbench.toml").write_text(self._settings)
        return directory

    def equip(self) -> None:
        """Give every host this very environment, which takes no time."""
        for home in {host.home for host in self.hosts.sshds}:
            equip(home)

    def start(
        self, *arguments: str, directory: Path | None = None, user: str | None = None
    ) -> Command:
        """Start a command in a directory, by default in the user's own."""
        return Command(directory or self.directory, *arguments, user=user)

    def call(
        self,
        *arguments: str,
        code: int = 0,
        directory: Path | None = None,
        user: str | None = None,
    ) -> Called:
        """Run a command, which must end with this code, and return its result."""
        with self.start(*arguments, directory=directory, user=user) as command:
            called = command.result()
        assert called.code == code, called.err
        assert "Traceback" not in called.err, called.err
        return called

    def clusters(self) -> list[dict[str, Any]]:
        """Return the clusters running on the hosts, as ``status`` reports them."""
        document = self.call("status", "--json").document
        return [part for parts in document["clusters"].values() for part in parts]

    def left(self, *names: str) -> list[int]:
        """Return the processes on these hosts, or on all, that do not end soon."""
        found = [pid for name in names or self.names for pid in self.hosts.processes(name)]
        with Witness(found) as witness:
            return witness.alive_after(_SOON_S)


def equip(home: Path) -> None:
    """Give a home directory this very environment, as if it had been provisioned."""
    key, _ = environment_of(os.uname().machine)
    environment = home / ".dnnbench" / "env" / key
    python = environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    mark_complete(str(environment), {})


def outcomes(directory: Path) -> list[TrialOutcome]:
    """Return those of the newest sweep of a directory."""
    return open_sweep(directory / "results").outcomes()


def taken(ports: Iterable[int]) -> list[int]:
    """Return those of the ports that cannot be bound."""
    return [port for port in ports if not is_free(port)]


@contextlib.contextmanager
def farm(count: int, directory: Path, slots: int = 1, **options: Any) -> Iterator[Farm]:
    """Start hosts, and finally end them with everything that runs on them."""
    with sshd.hosts(count, directory / "hosts", **options) as hosts:
        yield Farm(hosts, directory, slots)
