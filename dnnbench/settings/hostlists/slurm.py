"""Hosts of the Slurm job in which dnnbench runs: one host per node, reached by a step on it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final

from dnnbench.errors import ConfigError
from dnnbench.settings.hostlists.entries import Entry, read_value

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP: Final = (
    "srun --quiet --overlap --nodes=1 --ntasks=1 --cpu-bind=none --mem=0 --nodelist={name} "
    "{command}"
)
"""Runs a command beside the job's other steps, with all cores and memory that the job has there."""
_NODES, _TASKS = "SLURM_JOB_NODELIST", "SLURM_NTASKS_PER_NODE"
_TIMEOUT_S: Final = 30.0
_OUTSIDE: Final = "use it in a batch script, or after `salloc`"


def read_job(environ: Mapping[str, str], where: str) -> list[Entry]:
    """Return the job's nodes in Slurm's order; ``--ntasks-per-node`` gives the slots.

    Raises:
        ConfigError: this is no Slurm job, or ``scontrol`` does not tell its nodes.
    """
    if not environ.get(_NODES):
        problem = f"expected a Slurm job, found no {_NODES}"
        raise ConfigError(problem, where=where, remedy=_OUTSIDE)
    names = _expanded(environ[_NODES], where)
    settings: dict[str, Any] = {"connect": STEP}
    if tasks := environ.get(_TASKS):
        settings["slots"] = read_value("slots", tasks, where, _TASKS)
    return [
        Entry(where, {"name": read_value("name", name, where, _NODES), **settings})
        for name in names
    ]


def _expanded(nodes: str, where: str) -> list[str]:
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except FileNotFoundError:
        raise ConfigError(
            "scontrol is not installed on this machine",
            where=where,
            remedy=f"name the hosts: --hosts {nodes!r} --connect ssh",
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"scontrol gave no answer: {error}", where=where) from error
    if done.returncode:
        last = "".join(done.stderr.strip().splitlines()[-1:])
        problem = f"scontrol ended with {done.returncode}: {last or 'no message'}"
        raise ConfigError(problem, where=where, remedy="try it by hand: " + " ".join(command))
    return done.stdout.split()
