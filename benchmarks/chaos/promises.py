"""Promises of docs/reliability.md for each kind of fault, as what may be seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from benchmarks.chaos.strikes import Strike
    from benchmarks.chaos.sweeps import Timeline

MARGIN_S: Final = 0.5
"""Around a border between two phases, where either's promise may count: events take a moment."""
LEASE_S: Final = 55.0
"""Within which, and soon, nothing is left of what lost its controller: its grace and its lease."""
EXIT_RESULTS, EXIT_TRIAL, EXIT_HOST, EXIT_INTERRUPTED, EXIT_OUTPUT_CLOSED = 3, 4, 5, 130, 141

OK, DEGRADED, FAILED, INTERRUPTED, NOT_RUN, NONE = (
    *("ok", "degraded", "failed", "interrupted", "not run"),
    "without an outcome",
)


class Promise(NamedTuple):
    """What a fault may lead to.

    Attributes:
        statuses: of the trial that it struck.
        kinds: of the cause, where there is a failure.
        others: statuses of the other trial.
        codes: exit codes; empty for the one that follows from the outcomes.
        lease_s: within which, and soon, no process is left.
        is_named: whether who was struck has to be named by a trial that is not ``ok``.
    """

    statuses: Collection[str]
    kinds: Collection[str | None] = ()
    others: Collection[str] = (OK,)
    codes: Collection[int] = ()
    lease_s: float = 0.0
    is_named: bool = True


def statuses_without(tasks: Iterable[str], at_s: float, line: Timeline) -> set[str]:
    """Return what may come of a trial that lost these tasks at that time."""
    lost = set(tasks)
    if not lost:  # a host whose roles have ended; its agent is still to account for them
        return {OK, FAILED}
    if any(not task.startswith("worker") for task in lost) or lost >= line.trained_s.keys():
        is_over = at_s > max(line.trained_s.values()) - MARGIN_S
        return {OK, FAILED} if is_over else {FAILED}
    if at_s > min(line.trained_s[task] for task in lost) - MARGIN_S:
        return {OK, DEGRADED, FAILED}
    found = set()
    if at_s < line.go_s + MARGIN_S:
        found.add(FAILED)
    if at_s > line.go_s - MARGIN_S:
        found.add(DEGRADED)
    return found


def expected_code(statuses: Iterable[str]) -> int:
    """Return the exit code that follows from the outcomes of a sweep."""
    found = set(statuses)
    if FAILED in found:
        return EXIT_TRIAL
    return EXIT_HOST if found & {NOT_RUN, NONE} else 0


def blamed(outcome: Mapping[str, Any]) -> list[tuple[str | None, str | None, str | None]]:
    """Return task, host and kind of what an outcome names as its causes."""
    causes = [*outcome["lost_workers"], *outcome.get("lost_servers", ())]
    if outcome["failure"] and outcome["status"] != INTERRUPTED:
        causes.append(outcome["failure"])
    return [(cause["task"], cause["host"], cause["kind"]) for cause in causes]


def wrong_culprit(strike: Strike, outcome: Mapping[str, Any]) -> str:
    """Return who was blamed in place of who was struck; empty if nobody."""
    for task, host, _ in blamed(outcome):
        is_right = host in strike.hosts and (task is None or task in strike.tasks)
        if not is_right or (task is None and strike.is_task):
            return f"blamed {task} on {host} for {strike.target}: {causes(outcome)}"
    return ""


def causes(outcome: Mapping[str, Any]) -> str:
    """Return the causes in an outcome, in its own words."""
    found = [*outcome["lost_workers"], *outcome.get("lost_servers", ())]
    found += [outcome["failure"]] if outcome["failure"] else []
    return "; ".join(f"{c['task']} on {c['host']} ({c['kind']}): {c['cause']}" for c in found)
