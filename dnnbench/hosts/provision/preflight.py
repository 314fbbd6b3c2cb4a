"""Test whether the tasks of a trial could reach each other."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.parallel import each
from dnnbench.hosts.provision.answers import convert, decode, refuse_error
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import Port, Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.hosts.connectors.interface import Conversation
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.sweep.placement import Host

CONNECT_TIMEOUT_S = 5.0
BANDWIDTH_BYTES = 8 << 20
_ANSWER_TIMEOUT_S = 15.0
_SHOWN_BYTES = 80


class Pair(msgspec.Struct, frozen=True):
    """A tested connection from one host to another.

    Attributes:
        bytes_per_s: None if it was not measured.
        problem: why the connection failed; None if it did not.
        remedy: what the user can do about it.
    """

    source: str
    target: str
    round_trip_ms: float | None = None
    bytes_per_s: float | None = None
    problem: str | None = None
    remedy: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether it is the connection of a host to itself."""
        return self.source == self.target


class _Listening(msgspec.Struct, frozen=True):
    """A probe's answer: the port on which it listens."""

    port: Port


class _Tried(msgspec.Struct, frozen=True):
    """A probe's answer: the result of connecting to a host."""

    name: str
    round_trip_ms: Quantity | None = None
    bytes_per_s: Quantity | None = None
    problem: str | None = None
    remedy: str | None = None


class Preflight(NamedTuple):
    """The results of all tests.

    Attributes:
        failures: hosts that cannot run the test at all.
    """

    pairs: list[Pair]
    failures: dict[str, HostError]


def try_pairs(
    tools: Mapping[str, HostTools],
    hosts: Sequence[Host],
    servers: int,
    ports: str,
    *,
    among_workers: bool = False,
    bandwidth: bool,
) -> Preflight:
    """Connect every worker's host to every parameter server's, and back; or each to each.

    TensorFlow needs both directions: a task that wants a tensor connects to the task that has it. A
    host with room for several tasks connects to itself, too, at the address that its tasks use.

    Args:
        tools: host -> its tools, already called once.
        hosts: in the order of placement, filled to their slots.
        servers: number of parameter servers, which are placed before the workers.
        ports: the configured range, in which every host listens.
        among_workers: connect workers to each other, too.
        bandwidth: also measure it from worker to parameter server, or, where there is none, from
            each host to the next; one pair after the other.
    """
    listen = {"listen": [int(port) for port in ports.split("-")]}
    with ExitStack() as stack:
        probes: dict[str, Conversation] = {}

        def start(name: str) -> int:
            probes[name] = tools[name].open("probe")
            return convert(name, _ask(probes[name], listen), _Listening).port

        started = each([host.name for host in hosts], start)
        for probe in probes.values():
            stack.callback(probe.close)
        failures = {name: got for name, got in started.items() if isinstance(got, HostError)}
        targets = {
            host.name: {"name": host.name, "address": host.address.strip("[]"), "port": port}
            for host in hosts
            if not isinstance(port := started[host.name], HostError)
        }
        names = list(targets)
        holding, rest = ([n for n in part if n in targets] for part in holders(hosts, servers))
        first, rest = (names, names) if among_workers else (holding, rest or holding)
        to_themselves = {host.name for host in hosts if host.slots != 1}
        following = dict(zip(names, [*names[1:], *names[:1]], strict=True))

        def bytes_to(source: str, target: str) -> int:
            is_measured = target in holding if holding else target == following[source]
            return BANDWIDTH_BYTES if bandwidth and is_measured and source != target else 0

        def there(source: str) -> list[Pair]:
            return connect(source, {name: bytes_to(source, name) for name in first})

        def back(source: str) -> list[Pair]:
            done = first if source in rest else []
            return connect(source, {name: 0 for name in rest if name not in done})

        def connect(source: str, sizes: Mapping[str, int]) -> list[Pair]:
            others = [name for name in sizes if name != source or name in to_themselves]
            wanted = [{**targets[name], "bytes": sizes[name]} for name in others]
            answers = _connect(probes[source], wanted)
            found = [_pair(source, answer, ports, targets) for answer in answers]
            if sorted(pair.target for pair in found) != sorted(others):
                raise HostError("the probe did not try the requested hosts", where=source)
            return found

        # One after the other if bandwidth is measured: pairs would share it.
        gone = each(rest, there, at_once=1 if bandwidth else 64)
        returned = each(first, back)
        pairs: list[Pair] = []
        for name, found in [*gone.items(), *returned.items()]:
            if isinstance(found, HostError):
                failures[name] = found
            else:
                pairs += found
        return Preflight(pairs, failures)


def hindrances(pairs: Sequence[Pair], servers: Sequence[str]) -> dict[str, HostError]:
    """Return the hosts to drop, with errors; empty if all workers reach all parameter servers.

    If a parameter server's host has trouble with every worker, only that host is returned: another
    one in its place may have none.
    """
    if own := {p.source: _error(p.source, p) for p in pairs if p.problem and p.is_own}:
        return own
    troubled: dict[tuple[str, str], Pair] = {}
    peers: dict[str, set[str]] = {server: set() for server in servers}
    for pair in (pair for pair in pairs if not pair.is_own):
        for server, peer in ((pair.source, pair.target), (pair.target, pair.source)):
            if server in peers:
                peers[server].add(peer)
                if pair.problem:
                    troubled.setdefault((server, peer), pair)
    for server, its in peers.items():
        if len(its) > 1 and all((server, peer) in troubled for peer in its):
            return {server: _error(server, troubled[server, min(its)])}
    return {peer: _error(peer, pair) for (_, peer), pair in troubled.items()}


def hindrances_among(pairs: Sequence[Pair], hosts: Sequence[str]) -> dict[str, HostError]:
    """Return the hosts to drop, with errors, so that all others reach each other.

    The one with trouble with most others goes first; of two alike, the later one.
    """
    left = [pair for pair in pairs if pair.problem]
    dropped: dict[str, HostError] = {}
    while left:
        peers: dict[str, set[str]] = {name: set() for name in hosts}
        for pair in left:
            peers[pair.source].add(pair.target)
            peers[pair.target].add(pair.source)
        worst = max(hosts, key=lambda name: (len(peers[name]), hosts.index(name)))
        its = [pair for pair in left if worst in (pair.source, pair.target)]
        dropped[worst] = _error(worst, its[0])
        left = [pair for pair in left if pair not in its]
    return dropped


def _error(host: str, pair: Pair) -> HostError:
    """Return the problem of a pair as an error of one of its hosts."""
    problem = pair.problem if host == pair.source else f"{pair.source} {pair.problem}"
    return HostError(problem or "", where=host, remedy=pair.remedy)


def holders(hosts: Sequence[Host], servers: int) -> tuple[list[str], list[str]]:
    """Return the hosts of parameter servers and those of workers; a host may be in both."""
    first: list[str] = []
    rest: list[str] = []
    taken = 0
    for host in hosts:
        if taken < servers:
            first.append(host.name)
        taken += host.slots or servers + 1
        if taken > servers:
            rest.append(host.name)
    return first, rest


def _connect(probe: Conversation, targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not targets:
        return []
    first = _ask(probe, {"connect": targets, "timeout_s": CONNECT_TIMEOUT_S})
    return [first, *(_answer(probe) for _ in targets[1:])]


def _pair(
    source: str, found: dict[str, Any], ports: str, targets: Mapping[str, Mapping[str, Any]]
) -> Pair:
    tried = convert(source, found, _Tried)
    target = tried.name
    if tried.problem is None:
        return Pair(source, target, tried.round_trip_ms, tried.bytes_per_s)
    if target not in targets:
        raise HostError(f"the probe tried an unknown host, {one_line(target)!r}", where=source)
    if source == target:
        whom, remedy = "itself", "set its data_address to an address that it has"
    else:
        whom = target
        remedy = f"open TCP ports {ports} between the hosts, or set data_address of {target}"
    return Pair(
        source,
        target,
        problem=f"cannot reach {whom} at {targets[target]['address']}: {one_line(tried.problem)}",
        remedy=remedy,
    )


def _ask(probe: Conversation, request: dict[str, Any]) -> dict[str, Any]:
    probe.write(msgspec.json.encode(request) + b"\n")
    return _answer(probe)


def _answer(probe: Conversation) -> dict[str, Any]:
    line = probe.read_line(_ANSWER_TIMEOUT_S)
    if not line:
        raise HostError(f"the probe ended: {one_line(probe.errors)}", where=probe.host)
    try:
        answer = decode(line)
    except ValueError:
        found = one_line(line[:_SHOWN_BYTES].decode(errors="replace"))
        problem = f"expected an answer of the probe in JSON, found {found!r}"
        raise HostError(problem, where=probe.host) from None
    refuse_error(probe.host, answer)
    return answer
