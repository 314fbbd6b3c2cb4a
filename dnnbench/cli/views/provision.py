"""Screens of provisioning: its progress and its result."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dnnbench.hosts.provision.steps import STEPS
from dnnbench.text.safe import json_text, one_line
from dnnbench.text.tables import NONE, Column, Table, table_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.live import Live
    from rich.table import Table as LiveTable

    from dnnbench.cli.shared.printer import Printer
    from dnnbench.errors import HostError
    from dnnbench.hosts.provision.facts import Facts
    from dnnbench.hosts.provision.preflight import Pair
    from dnnbench.hosts.provision.steps import Removed, Step
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.text.screen import Screen

_SHOWN_S = 0.5
_STYLES = {"ok": "green", "changed": "yellow", "failed": "red"}

Steps = dict[str, list["Step"]]


class Progress:
    """Shows each step as it ends: in the host's row on a terminal, as a line elsewhere."""

    def __init__(self, printer: Printer, hosts: Iterable[str], live: Live | None) -> None:
        self.steps: Steps = {name: [] for name in hosts}
        self._printer = printer
        self._live = live
        self._lock = threading.Lock()

    def tell(self, host: str, step: Step) -> None:
        """Show a step that has ended; called from any thread."""
        with self._lock:
            self.steps[host].append(step)
            if self._live:
                self._live.update(rows(self.steps))
            elif step.state != "ok":
                # The cause of a failed step is printed once, with all errors at the end.
                what = "" if step.state == "failed" else f" ({step.detail})"
                self._printer.note(f"{host}: {step.name} {_state_text(step)}{what}")


@contextmanager
def progress(printer: Printer, hosts: Iterable[str]) -> Iterator[Progress]:
    """Show the progress of hosts until the end of the block."""
    if not printer.is_live:
        yield Progress(printer, hosts, None)
        return
    from rich.live import Live  # only a terminal needs it

    with Live(console=printer.err, transient=True, refresh_per_second=4) as live:
        shown = Progress(printer, hosts, live)
        live.update(rows(shown.steps))
        yield shown


def rows(steps: Steps) -> LiveTable:
    """Lay out one row per host."""
    from rich.table import Table as LiveTable
    from rich.text import Text

    table = LiveTable(box=None, pad_edge=False)
    for name in ("Host", *STEPS):
        table.add_column(name)
    for host, done in steps.items():
        cells = [Text(one_line(_state_text(step)), style=_STYLES[step.state]) for step in done]
        if len(done) < len(STEPS) and not any(step.state == "failed" for step in done):
            cells.append(Text("…"))
        table.add_row(Text(one_line(host)), *cells)
    return table


def provisioned(steps: Steps, screen: Screen) -> str:
    """Lay out the result of every step on every host."""
    table = Table(
        title="Provisioned",
        columns=[Column(name, is_text=True) for name in ("Host", *STEPS)],
        rows=[_row(host, done) for host, done in steps.items()],
        notes=_changes(steps),
    )
    return table_text(table, screen)


def provisioned_document(steps: Steps, missing: Mapping[str, HostError]) -> str:
    """Return the same as JSON."""
    return _json({"hosts": steps, "missing": missing})


def checked(
    facts: Mapping[str, Facts], wanted: Wanted, pairs: Iterable[Pair], screen: Screen
) -> str:
    """Lay out the facts of the hosts, and the connections between them."""
    hosts = Table(
        title="Hosts",
        columns=[
            Column("Host", is_text=True),
            *map(Column, ("Cores", "Memory GiB", "Disk free GiB", "Ports free", "Clock s")),
            Column("Provisioned", is_text=True),
        ],
        rows=[
            [
                host,
                f"{found.cores:g}",
                f"{found.memory_bytes / 2**30:.1f}",
                f"{found.disk_free_bytes / 2**30:.1f}",
                str(found.ports_free),
                f"{found.clock_offset_s:+.2f}",
                "no" if found.lacking(wanted) else "yes",
            ]
            for host, found in facts.items()
        ],
        notes=[],
    )
    reached = Table(
        title="Connections",
        columns=[
            Column("From", is_text=True),
            Column("To", is_text=True),
            Column("Round trip ms"),
            Column("MB/s"),
        ],
        rows=[
            [
                pair.source,
                pair.target,
                "failed" if pair.round_trip_ms is None else f"{pair.round_trip_ms:.2f}",
                f"{pair.bytes_per_s / 1e6:.0f}" if pair.bytes_per_s else NONE,
            ]
            for pair in pairs
        ],
        notes=["Workers to parameter servers, then back; there only the connection is tried."],
    )
    return table_text(hosts, screen) + table_text(reached, screen)


def checked_document(
    facts: Mapping[str, Facts], pairs: Iterable[Pair], missing: Mapping[str, HostError]
) -> str:
    """Return the same as JSON."""
    return _json({"hosts": facts, "connections": list(pairs), "missing": missing})


def removed(answers: Mapping[str, Removed], directory: str) -> str:
    """List what was removed."""
    lines = []
    for host, answer in answers.items():
        left = ", ".join(map(one_line, answer.left))
        what = f"{directory} removed" if answer.removed else f"there was no {directory}"
        lines.append(f"{host}: {what}{f'; kept, not created by dnnbench: {left}' if left else ''}")
    return "".join(f"{one_line(line)}\n" for line in lines)


def removed_document(answers: Mapping[str, Removed], missing: Mapping[str, HostError]) -> str:
    """Return the same as JSON."""
    return _json({"hosts": answers, "missing": missing})


def _row(host: str, done: list[Step]) -> list[str]:
    cells = [_state_text(step) for step in done]
    return [host, *cells, *[NONE] * (len(STEPS) - len(cells))]


def _changes(steps: Steps) -> list[str]:
    """List the changes, once for all hosts with the same one."""
    hosts: dict[str, list[str]] = {}
    for host, done in steps.items():
        for step in done:
            if step.state == "changed":
                hosts.setdefault(f"{step.name}: {step.detail}", []).append(host)
    return [
        f"Changed: {what} ({'all hosts' if len(names) == len(steps) else ', '.join(names)})."
        for what, names in hosts.items()
    ] or ["Nothing changed."]


def _state_text(step: Step) -> str:
    took = f" {step.duration_s:.0f} s" if step.duration_s > _SHOWN_S else ""
    return f"{step.state}{took}"


def _json(document: dict[str, Any]) -> str:
    document["missing"] = {
        name: {"problem": error.problem, "remedy": error.remedy}
        for name, error in document["missing"].items()
    }
    return json_text(document)
