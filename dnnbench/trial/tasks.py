"""Tasks of a trial: their names and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

PARAMETER_SERVER = "ps"
WORKER = "worker"
AGENT = "agent"
"""Stands for a task in the events that no role sends."""


def task_names(nodes: int, parameter_servers: int) -> list[str]:
    """List the tasks of a cluster of ``nodes``: ``ps:0`` and on, then ``worker:0`` and on."""
    names = [f"{PARAMETER_SERVER}:{index}" for index in range(parameter_servers)]
    names += [f"{WORKER}:{index}" for index in range(nodes - parameter_servers)]
    return names


def split_task(task: str) -> tuple[str, int]:
    """Split ``worker:3`` into ``("worker", 3)``."""
    job, _, index = task.partition(":")
    return job, int(index)


def accountants(tasks: Iterable[str]) -> set[str]:
    """Return the tasks that account for the updates: parameter servers, or the first worker."""
    servers = {task for task in tasks if split_task(task)[0] == PARAMETER_SERVER}
    return servers or {f"{WORKER}:0"}


class ClusterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses (``host:port``) by job, in the order of the task index.

    A protocol that needs no parameter server has an empty ``ps``.
    """

    ps: list[str]
    worker: list[str]

    @classmethod
    def from_tasks(cls, addresses: dict[str, str]) -> ClusterSpec:
        """Order the addresses of all tasks, given as ``{"worker:0": "10.0.0.2:4711", …}``."""
        jobs: dict[str, list[tuple[int, str]]] = {PARAMETER_SERVER: [], WORKER: []}
        for task, address in addresses.items():
            job, index = split_task(task)
            jobs[job].append((index, address))
        ordered = {job: [address for _, address in sorted(pairs)] for job, pairs in jobs.items()}
        return cls(ps=ordered[PARAMETER_SERVER], worker=ordered[WORKER])

    def as_dict(self) -> dict[str, list[str]]:
        """Return the form that ``tf.train.ClusterSpec`` takes: no job without a task."""
        jobs = {PARAMETER_SERVER: self.ps, WORKER: self.worker}
        return {job: addresses for job, addresses in jobs.items() if addresses}
