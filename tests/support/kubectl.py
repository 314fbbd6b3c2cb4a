"""A stand-in for ``kubectl`` and the cluster behind it, on this machine.

A pod is a home directory, a host name and a loopback address; ``/etc/hosts`` has the names that the
Service would give. So it shows what dnnbench asks of kubectl, and that the names, addresses and
programs of a manifest fit together. It proves nothing about Kubernetes: images, limits, security
contexts and network policies are not obeyed here. Needs root, for the names.

Usage: kubectl apply -f FILE; kubectl delete -f FILE; kubectl exec -i NAME -- PROGRAM [ARGUMENT]...
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

PODS = Path(os.environ["STAND_IN_PODS"])
NETWORK = os.environ["STAND_IN_NETWORK"]
"""The first three numbers of the pods' addresses."""
NAMES = PODS / "hosts"
_WITHIN = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'


def address(name: str) -> str:
    return f"{NETWORK}.{2 + int(name.rpartition('-')[2])}"


def pods(file: str) -> list[tuple[str, str]]:
    """Return the names of a manifest's pods, each with that of its Service."""
    items = json.loads(Path(file).read_text())["items"]
    services = {item["metadata"]["name"] for item in items if item["kind"] == "Service"}
    found = []
    for item in items:
        if item["kind"] == "StatefulSet":
            name, spec = item["metadata"]["name"], item["spec"]
            if spec["serviceName"] not in services:
                sys.exit(f"no Service {spec['serviceName']}")
            found += [(f"{name}-{i}", spec["serviceName"]) for i in range(spec["replicas"])]
    return found


def apply(file: str) -> None:
    lines = ["127.0.0.1 localhost"]
    for name, service in pods(file):
        (PODS / name).mkdir(mode=0o700, parents=True)
        lines.append(f"{address(name)} {name}.{service} {name}")
    NAMES.write_text("\n".join(lines) + "\n")


def delete(file: str) -> None:
    for name, _ in pods(file):
        shutil.rmtree(PODS / name)


def execute(name: str, command: list[str]) -> None:
    if not (PODS / name).is_dir():
        sys.exit(f'Error from server (NotFound): pods "{name}" not found')
    # Where each pod has a network namespace, dnnbench tells hosts apart by it. Here it does so by
    # the loopback address of a login.
    login = f"127.0.0.1 1 {address(name)} 22"
    os.environ.update(HOME=str(PODS / name), SSH_CONNECTION=login)
    within = ["unshare", "--mount", "--uts", "--", "sh", "-c", _WITHIN, name, str(NAMES)]
    os.execvp(within[0], [*within, *command])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["apply", "-f", file]:
            apply(file)
        case ["delete", "-f", file]:
            delete(file)
        case ["exec", "-i", name, "--", *command]:
            execute(name, command)
        case _:
            sys.exit(f"the stand-in does not know {sys.argv[1:]}")
