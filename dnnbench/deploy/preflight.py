"""Whether the tasks of a trial could reach each other: every worker and every parameter server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.errors import HostError
from dnnbench.fleet import each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.deploy.tools import HostTools
    from dnnbench.inventory import Host
    from dnnbench.transport.ssh.commands import Stream

CONNECT_TIMEOUT_S = 5.0
BANDWIDTH_BYTES = 8 << 20
_ANSWER_TIMEOUT_S = 15.0


class Pair(msgspec.Struct, frozen=True):
    """A connection from one host to another one.

    Attributes:
        bytes_per_s: None where it was not measured.
        problem: why there is none.
        remedy: what to do about it.
    """

    source: str
    target: str
    round_trip_ms: float | None = None
    bytes_per_s: float | None = None
    problem: str | None = None
    remedy: str | None = None


def try_pairs(
    tools: Mapping[str, HostTools],
    hosts: Sequence[Host],
    servers: int,
    ports: str,
    *,
    bandwidth: bool,
) -> list[Pair]:
    """Connect every worker's host to every parameter server's, and back.

    TensorFlow needs both ways: whoever wants a tensor connects to the task that has it.

    Args:
        tools: of these hosts, which have been called once.
        hosts: in the order of placement.
        servers: so many of them hold parameter servers.
        ports: the configured range, in which every host listens.
        bandwidth: also measure it from worker to parameter server, one pair after the other.

    Raises:
        HostError: a host cannot be asked at all.
    """
    by_name = {host.name: host for host in hosts}
    low, high = map(int, ports.split("-"))
    with ExitStack() as stack:
        probes = {}
        for name in by_name:
            probes[name] = tools[name].open("probe")
            stack.callback(probes[name].close)
        listening = each(by_name, lambda name: _ask(probes[name], {"listen": [low, high]}))
        ports_of = {}
        for name, answer in listening.items():
            if isinstance(answer, HostError):
                raise answer
            ports_of[name] = answer["port"]

        def target(name: str, size: int) -> dict[str, Any]:
            address = by_name[name].address
            return {"name": name, "address": address, "port": ports_of[name], "bytes": size}

        first, rest = list(by_name)[:servers], list(by_name)[servers:] or list(by_name)
        pairs = []
        for sources, targets, size in (
            (rest, first, BANDWIDTH_BYTES if bandwidth else 0),
            (first, rest, 0),
        ):
            for source in sources:
                wanted = [target(name, size) for name in targets if name != source]
                answers = _connect(probes[source], wanted)
                pairs += [_pair(source, found, ports, by_name) for found in answers]
        return pairs


def _connect(probe: Stream, targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not targets:
        return []
    first = _ask(probe, {"connect": targets, "timeout_s": CONNECT_TIMEOUT_S})
    return [first, *(_answer(probe) for _ in targets[1:])]


def _pair(source: str, found: dict[str, Any], ports: str, hosts: Mapping[str, Host]) -> Pair:
    pair = msgspec.convert({"source": source, "target": found.pop("name"), **found}, Pair)
    if pair.problem is None:
        return pair
    address = hosts[pair.target].address
    return msgspec.structs.replace(
        pair,
        problem=f"cannot reach {pair.target} at {address}: {pair.problem}",
        remedy=f"open TCP ports {ports} between the hosts, or set data_address of {pair.target}",
    )


def _ask(probe: Stream, request: dict[str, Any]) -> dict[str, Any]:
    probe.write(msgspec.json.encode(request) + b"\n")
    return _answer(probe)


def _answer(probe: Stream) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(probe.read_line(_ANSWER_TIMEOUT_S))
    if "error" in answer:
        raise HostError(answer["error"]["problem"], remedy=answer["error"].get("remedy"))
    return answer
