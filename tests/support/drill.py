"""Hosts over real SSH and the command line, as a user sees them; without TensorFlow.

The hosts' environment is this very interpreter, so it needs no installation, and agents follow a
script. Everything else is real.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dnnbench.cli import main
from dnnbench.hosts.onhost.directory import mark_complete
from dnnbench.hosts.provision.wanted import environment_of
from dnnbench.sweep.results import sweep_names
from dnnbench.sweep.store import SweepStore
from support import SUPPORT, TESTS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.testbed.sshd import Hosts, Sshd
    from dnnbench.settings.hostlists.host import HostConfig

KEY, NEEDED = environment_of("x86_64")
PORTS = "23400-23499"
_HALF_WRITTEN = re.compile(r"\.py\.[^/]*\.\d+$|\.aside$|^\..*\.[0-9a-f]{8}$|^tmp$|\.new$")


class Result(NamedTuple):
    """The result of a command.

    Attributes:
        err: lines of standard error.
    """

    code: int
    out: str
    err: list[str]

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Drill:
    """A directory with a dnnbench.toml about hosts, and a dnnbench directory on each of them.

    Attributes:
        name: name of the directory in each home.
        sshds: host name -> server.
        hosts: host name -> its entry in the list.
        known_hosts: content of that file.
        settings: further tables and keys of dnnbench.toml.
    """

    def __init__(self, path: Path, farm: Hosts, name: str) -> None:
        self.path = path
        self.name = name
        self.sshds: dict[str, Sshd] = {sshd.name: sshd for sshd in farm.sshds}
        self.hosts: dict[str, HostConfig] = {host.name: host for host in farm.configs}
        self.known_hosts = farm.known_hosts.read_text()
        self.settings: dict[str, dict[str, Any]] = {
            "ssh": {"tries": 1},
            "cluster": {"directory": f"~/{name}", "ports": PORTS},
            "sweep": {
                "nodes": [2, 3],
                "repeats": 1,
                "protocols": ["downpour"],
                "results_dir": str(path / "results"),
            },
            "train": {"dataset": "synthetic-mnist"},
            "provision": {},
        }

    def directory(self, host: str) -> Path:
        """Return dnnbench's directory on a host."""
        return self.sshds[host].home / self.name

    def change(self, host: str, **fields: Any) -> None:
        """Change a host's entry in the list."""
        self.hosts[host] = msgspec.structs.replace(self.hosts[host], **fields)

    def replace(self, host: str, farm: Hosts) -> Sshd:
        """Replace a host by another server without an installation; return it."""
        (self.sshds[host],) = farm.sshds
        self.hosts[host] = msgspec.structs.replace(farm.configs[0], name=host)
        self.known_hosts += farm.known_hosts.read_text()
        return self.sshds[host]

    def provision(self, host: str, packages: Path | None = None) -> None:
        """Install the environment on a host, and the packages that another one has."""
        python = self.directory(host) / "env" / KEY / "bin" / "python"
        python.parent.mkdir(parents=True)
        agent = SUPPORT / "scripted_agent.py"
        python.write_text(
            f'#!/bin/sh\n[ "$4" = dnnbench.training.agent ] && '
            f"PYTHONPATH={TESTS}:$PYTHONPATH exec {sys.executable} {agent}\n"
            f'exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        mark_complete(str(python.parent.parent), {"requirements": NEEDED})
        if packages:
            shutil.copytree(packages, self.directory(host) / "packages")

    def call(self, *arguments: str) -> Result:
        """Run a command of dnnbench."""
        (self.path / "known_hosts").write_text(self.known_hosts)
        (self.path / "ssh_config").write_text("")
        config = self.path / "dnnbench.toml"
        config.write_text(self._toml())
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*arguments, "--config", str(config)])
        return Result(code, out.getvalue(), err.getvalue().splitlines())

    def standing(self) -> list[str]:
        """Return the hosts that have anything of a cluster."""
        return [name for name in self.sshds if [*self.directory(name).glob("clusters/*/*")]]

    def outcomes(self) -> dict[str, str]:
        """Return the status of each trial of the newest sweep."""
        results = self.path / "results"
        store = SweepStore(results / sweep_names(results)[-1])
        return {outcome.order.id: outcome.status for outcome in store.outcomes()}

    def half_written(self, host: str) -> list[Path]:
        """Return whatever was begun on a host and neither finished nor removed."""
        folder = self.directory(host)
        begun = [path for path in folder.rglob("*") if _HALF_WRITTEN.search(path.name)]
        made = [*folder.glob("env/*"), *folder.glob("packages/*")]
        return begun + [path for path in made if not (path / "complete.json").exists()]

    def _toml(self) -> str:
        files = {"config": "ssh_config", "known_hosts": "known_hosts"}
        ssh = {key: str(self.path / name) for key, name in files.items()} | self.settings["ssh"]
        lines = []
        for table, content in {**self.settings, "ssh": ssh}.items():
            lines += [f"[{table}]", *(f"{key} = {json.dumps(v)}" for key, v in content.items())]
        for host in self.hosts.values():
            lines.append("[[hosts]]")
            fields = msgspec.structs.asdict(host).items()
            lines += [f"{key} = {json.dumps(value)}" for key, value in fields if value is not None]
        return "\n".join([*lines, ""])
