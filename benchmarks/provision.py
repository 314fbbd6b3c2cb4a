"""Provisioning of 50 hosts with nothing left to do, beside Ansible's ping of the same hosts.

Both are timed as whole commands and use the same SSH configuration. Ansible's persistent
connections are new in every round, because dnnbench keeps none either.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import hosts
from benchmarks.harness import Options, Result, Row, column, in_turn, main, medians
from benchmarks.processes import BenchmarkError, environment, python, timed_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.harness import Measures

NAME = "Provision"
ROUNDS = 7
HOSTS, FEW_HOSTS = 50, 4
TIMEOUT_S = 600.0
NOTHING = "provision, nothing left to do"
PACKAGE = "provision, package to install"
NO_ANSIBLE = (
    "Ansible's ping, because there is no ansible beside this Python or in the PATH "
    "(pip install '.[benchmark]')"
)
PINGS = {
    "-f 50": {"forks": 50},
    "with its default of 5 forks": {},
    "-f 50, pipelining": {"forks": 50, "pipelining": True},
}
"""Ansible's settings, by side. With pipelining, modules are sent over the standard input of ssh."""


def measure(options: Options) -> Result:
    """Start the hosts, provision them, then time the commands in turn."""
    count = FEW_HOSTS if options.quick else HOSTS
    ansible = find_ansible()
    try:
        with (
            tempfile.TemporaryDirectory() as name,
            hosts.running(count, Path(name) / "hosts") as started,
        ):
            result = _measure(options, started, Path(name), ansible)
    except BenchmarkError as error:
        return Result(NAME, [], skipped=[f"{NAME}: {error}"])
    if ansible is None:
        result.skipped.append(NO_ANSIBLE)
    return result


def find_ansible() -> str | None:
    """Return the ansible of the extra ``benchmark``, or one in the PATH; None if there is none."""
    beside = Path(sys.executable).with_name("ansible")
    return str(beside) if beside.exists() else shutil.which("ansible")


def _measure(
    options: Options, started: hosts.Hosts, directory: Path, ansible: str | None
) -> Result:
    provision = _provision_command(options, started, directory)
    sides: dict[str, Callable[[int], Measures]] = {NOTHING: partial(_run, provision, directory)}
    if ansible:
        name = _version(ansible, directory)
        sides |= {
            f"{name} ping {text}": partial(_ping, ansible, started, directory, settings)
            for text, settings in PINGS.items()
        }
    for _ in range(2):  # the first has something to do
        states = _states(provision, directory)
    if states != {"ok"}:
        raise BenchmarkError(f"a second provision reports {', '.join(sorted(states))}")
    for side in sides.values():  # once unmeasured: file cache
        side(0)
    rounds = in_turn("provision", sides, options.rounds_or(ROUNDS))
    package = {PACKAGE: partial(_install_package, provision, started, directory)}
    installing = in_turn("package", package, options.rounds_or(ROUNDS))
    ours_s, *theirs_s = (column(rounds, side, "wall_s") for side in sides)
    return Result(
        NAME,
        [
            Row(f"{NOTHING}, {len(started.names)} hosts", side, "s", ours_s, side_s, 1.0)
            for side, side_s in zip(list(sides)[1:], theirs_s, strict=True)
        ],
        tables={"Medians": medians(rounds, ["wall_s"]) + medians(installing, ["wall_s"])},
        rounds={"provision": rounds, "package": installing},
    )


def _provision_command(options: Options, started: hosts.Hosts, directory: Path) -> list[str]:
    lines = ["[ssh]", f'config = "{started.ssh_config}"']
    for name in started.names:
        lines += ["[[hosts]]", f'name = "{name}"']
    (directory / "dnnbench.toml").write_text("\n".join(lines) + "\n")
    data = ["--dataset", "synthetic-mnist"]
    if options.data_dir:
        data = ["--dataset", "mnist", "--data-dir", str(options.data_dir.resolve())]
    return python("-m", "dnnbench", "provision", *data)


def _run(command: list[str], directory: Path, _: int) -> Measures:
    return {"wall_s": timed_run(command, TIMEOUT_S, directory)}


def _states(provision: list[str], directory: Path) -> set[str]:
    """Provision and return the states of all steps on all hosts."""
    done = subprocess.run(
        [*provision, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        cwd=directory,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"provision ended with {done.returncode}: {done.stderr!r}")
    steps = json.loads(done.stdout)["hosts"].values()
    return {step["state"] for of_host in steps for step in of_host}


def _install_package(
    provision: list[str], started: hosts.Hosts, directory: Path, number: int
) -> Measures:
    """Provision with only dnnbench's own package missing, as after an update."""
    shutil.rmtree(started.home / ".dnnbench" / "packages")
    return _run(provision, directory, number)


def _version(ansible: str, directory: Path) -> str:
    done = subprocess.run(
        [ansible, "--version"],
        capture_output=True,
        env={**environment(), "ANSIBLE_HOME": f"{directory}/ansible"},
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"{ansible} --version ended with {done.returncode}: {done.stderr!r}")
    return "Ansible " + done.stdout.partition("]")[0].rpartition(" ")[2]


def _ping(
    ansible: str,
    started: hosts.Hosts,
    directory: Path,
    settings: Mapping[str, Any],
    number: int,
) -> Measures:
    """Let Ansible ping the hosts, from a directory with its settings."""
    (directory / "hosts.ini").write_text("\n".join(started.names) + "\n")
    with tempfile.TemporaryDirectory(dir=directory) as control_paths:
        lines = [
            "[defaults]",
            f"inventory = {directory}/hosts.ini",
            f"home = {directory}/ansible",  # not the user's own, here
            f"remote_tmp = {directory}/ansible_remote",  # or on the hosts
            *(f"{key} = {value}" for key, value in settings.items()),
            "[ssh_connection]",
            f"ssh_common_args = -F {started.ssh_config}",
            f"control_path_dir = {control_paths}",
        ]
        (directory / "ansible.cfg").write_text("\n".join(lines) + "\n")
        try:
            return _run([ansible, "all", "-m", "ping"], directory, number)
        finally:
            for path in Path(control_paths).iterdir():
                end = ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any"]
                subprocess.run(end, capture_output=True, check=False)


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
