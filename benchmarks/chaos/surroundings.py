"""Strikes against what a sweep needs: its network, disks, terminal and pipes."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import threading
import time
from typing import TYPE_CHECKING, Final

from benchmarks.chaos.damage import cut, flip, make_arrays, remove, zero
from benchmarks.chaos.places import FILLER, HOSTS, LOCALHOST, fill, mount_memory, unmount
from benchmarks.chaos.strikes import Strike, tasks_on
from benchmarks.chaos.sweeps import Wiring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from benchmarks.chaos.sweeps import Moment, Sweep

_SSH_PORT: Final = 22
_SHORT_CUT_S: Final = 2.5
_LOSSES_PERCENT: Final = (1, 5)
_RESULTS_SIZE: Final = "3m"
_DATA, _AGENT = "data", "agent"
_LOOK_S: Final = 0.05
_RULES: Final = """
table inet chaos {{
  chain in {{ type filter hook input priority -300; iifname != "lo" {rule} }}
  chain out {{ type filter hook output priority -300; oifname != "lo" {rule} }}
}}
"""
_BEAT_S: Final = 6.0
"""Within which something is sent on every SSH connection."""


def _struck(sweep: Sweep, moment: Moment, host: str, what: str) -> Strike:
    tasks = frozenset(tasks_on(sweep, moment, host))
    return Strike(time.time(), f"{what} {host}", tasks, frozenset({host}))


# --- the network ----------------------------------------------------------------------------------


def partition(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
    """Drop every packet from and to a host until the end of the case."""
    host = rng.choice(HOSTS)
    strike = _struck(sweep, moment, host, "partition of")
    sweep.place.network.silence(host)
    return strike._replace(heal=lambda: sweep.place.network.end_silence(host))


def short_partition(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
    """Drop every packet from and to a host for some seconds, fewer than it takes to be given up."""
    host = rng.choice(HOSTS)
    seconds = rng.uniform(0.5, _SHORT_CUT_S)
    strike = _struck(sweep, moment, host, f"partition for {seconds:.1f} s of")
    sweep.place.network.silence(host)
    try:
        sweep.pause(seconds)
    finally:
        sweep.place.network.end_silence(host)
    return strike


def packet_loss(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
    """Drop a share of the packets from and to a host until the end of the case."""
    host = rng.choice(HOSTS)
    percent = rng.randint(*_LOSSES_PERCENT)
    strike = _struck(sweep, moment, host, f"{percent} % packet loss at")
    node = sweep.place.network.nodes[host]
    rule = f"numgen random mod 100 < {percent} drop;"
    node.run("nft", "-f", "-", given=_RULES.format(rule=rule))
    return strike._replace(heal=lambda: _lift(sweep, host))


def dropped_connections(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
    """Reset every SSH connection of a host, as a firewall does that forgot them."""
    host = rng.choice(HOSTS)
    strike = _struck(sweep, moment, host, "SSH connections reset at")
    node, controller = sweep.place.network.nodes[host], sweep.place.network.controller
    rule = f"tcp sport {_SSH_PORT} ct state established reject with tcp reset;"
    node.run("nft", "-f", "-", given=_RULES.format(rule=rule))
    # Something has to be sent on a connection for it to be reset: the next beat at the latest.
    killed = controller.run("ss", "--kill", "--no-header", "--tcp", "dst", node.address)
    if not killed.strip():
        try:
            sweep.pause(_BEAT_S)
        finally:
            _lift(sweep, host)
        return strike
    _lift(sweep, host)
    return strike


def _lift(sweep: Sweep, host: str) -> None:
    rules = "table inet chaos\ndelete table inet chaos\n"
    sweep.place.network.nodes[host].run("nft", "-f", "-", given=rules)


# --- disks ----------------------------------------------------------------------------------------


def full_results(sweep: Sweep, _moment: Moment, _rng: Random) -> Strike:
    """Fill the file system of the results until the end of the case."""
    results = sweep.directory / "results"
    strike = Strike(time.time(), "full disk of the results", frozenset(), frozenset({LOCALHOST}))
    fill(results)
    return strike._replace(heal=lambda: (results / FILLER).unlink(missing_ok=True))


def full_host(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
    """Fill the file system of a host's home directory until the end of the case."""
    host = rng.choice(HOSTS)
    strike = _struck(sweep, moment, host, "full disk of")
    home = sweep.place.home(host)
    fill(home)
    return strike._replace(heal=lambda: (home / FILLER).unlink(missing_ok=True))


def damaged_data(sweep: Sweep, _moment: Moment, rng: Random) -> Strike:
    """Damage the user's data until the end of the case."""
    directory = sweep.directory / _DATA
    kept = directory.with_name("kept")
    shutil.copytree(directory, kept)
    damaged = rng.choice((cut, zero, flip, remove))(directory, rng)
    target = f"{damaged.path.name}, {damaged.what}"

    def restore() -> None:
        if kept.exists():
            shutil.rmtree(directory)
            kept.rename(directory)

    return Strike(time.time(), target, frozenset({_AGENT}), frozenset({LOCALHOST}), heal=restore)


# --- terminal and pipes ---------------------------------------------------------------------------


class Reader:
    """Reads a terminal or a pipe until it is told to close it, as a user or a program does."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        """Close this end. Idempotent."""
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([self._descriptor], [], [], _LOOK_S)
            try:
                if ready and not os.read(self._descriptor, 1 << 16):
                    break
            except OSError:  # nobody has the terminal open any more
                break
        os.close(self._descriptor)


@contextlib.contextmanager
def plain(_sweep: Sweep) -> Iterator[Wiring]:
    """Write to files."""
    yield Wiring()


@contextlib.contextmanager
def on_memory(sweep: Sweep) -> Iterator[Wiring]:
    """Write to files, and keep the results on a small file system."""
    results = sweep.directory / "results"
    mount_memory(results, _RESULTS_SIZE)
    try:
        yield Wiring()
    finally:
        unmount(results)


@contextlib.contextmanager
def own_data(sweep: Sweep) -> Iterator[Wiring]:
    """Write to files, and train on the user's own data."""
    make_arrays(sweep.directory / _DATA)
    sweep.dataset = f"directory:{sweep.directory / _DATA}"
    yield Wiring()


@contextlib.contextmanager
def restarting(sweep: Sweep) -> Iterator[Wiring]:
    """Write to files, and start lost roles again."""
    sweep.more = ("--restart-servers", "1", "--restart-workers", "1", "--checkpoint-s", "1")
    yield Wiring()


@contextlib.contextmanager
def terminal(_sweep: Sweep, *before: str) -> Iterator[Wiring]:
    """Run on a terminal."""
    ours, theirs = os.openpty()
    prefix = ("setsid", "--ctty", *before, "env", "TERM=xterm")
    with _read(ours, theirs) as reader:
        yield Wiring(prefix, stdin=theirs, stdout=theirs, hang_up=reader.close)


@contextlib.contextmanager
def nohup(sweep: Sweep) -> Iterator[Wiring]:
    """Run on a terminal under nohup."""
    with terminal(sweep, "nohup") as wiring:
        yield wiring


@contextlib.contextmanager
def pipe(_sweep: Sweep) -> Iterator[Wiring]:
    """Write both outputs to a pipe, as with ``2>&1 | head``."""
    reading, writing = os.pipe()
    with _read(reading, writing) as reader:
        yield Wiring(stdout=writing, hang_up=reader.close)


@contextlib.contextmanager
def _read(ours: int, theirs: int) -> Iterator[Reader]:
    reader = Reader(ours)
    try:
        yield reader
    finally:
        reader.close()
        with contextlib.suppress(OSError):
            os.close(theirs)


def hang_up(sweep: Sweep, _moment: Moment, _rng: Random) -> Strike:
    """Close the other end of the outputs."""
    target = "terminal" if sweep.wiring.stdin else "pipe"
    strike = Strike(time.time(), f"the {target}", frozenset(), frozenset({LOCALHOST}))
    sweep.wiring.hang_up()
    return strike
