"""Kubernetes objects whose pods are hosts: a headless Service, a StatefulSet and a NetworkPolicy.

The pods satisfy the "restricted" Pod Security Standard, and hold no credentials of the Kubernetes
API. Each has cores of its own where the kubelet's CPU manager is static: requests equal limits, and
the number of cores is whole. Source of the fields: the Kubernetes API, v1, apps/v1 and
networking.k8s.io/v1.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

IMAGE_USER: Final = 10001
"""User and group of the image, see docs/container/Containerfile."""
SCRATCH: Final = "/scratch"
"""Directory in the image that may be written to; its home is made in it."""
HOST_COMMAND: Final = "dnnbench-host"
"""Program of the image that makes a container a host and waits."""
ENVIRONMENTS: Final = f"{SCRATCH}/home/.dnnbench/env"

_LABEL: Final = "app.kubernetes.io/instance"
_DNS_PORT: Final = 53
_NODE_LOCAL_DNS: Final = "169.254.20.10/32"
"""Address of the NodeLocal DNSCache, which belongs to no pod."""
_START_TRIES: Final = 60


class Pods(msgspec.Struct, frozen=True, kw_only=True):
    """The pods of a cluster.

    Attributes:
        name: of all objects; a pod has it with a dash and a number from 0.
        count: number of pods.
        image: that of docs/container.
        cores: whole cores of each pod.
        memory: of each pod, as a Kubernetes quantity such as ``4Gi``.
        disk: of each pod, as above.
        ports: first and last port of TensorFlow's servers.
        namespace: None for that of kubectl's context.
    """

    name: str
    count: int
    image: str
    cores: int
    memory: str
    disk: str
    ports: tuple[int, int]
    namespace: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Labels by which the objects find the pods."""
        return {"app.kubernetes.io/name": "dnnbench", _LABEL: self.name}


def manifest(pods: Pods) -> dict[str, Any]:
    """Return the objects as one List, for ``kubectl apply -f -``."""
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [_service(pods), _network_policy(pods), _stateful_set(pods)],
    }


def host_entries(pods: Pods) -> str:
    """Return the pods as ``[[hosts]]`` of dnnbench.toml.

    Other pods reach one at its name in the Service's domain.
    """
    exec_in = "kubectl exec -i {name} -- {command}"
    if pods.namespace is not None:
        exec_in = f"kubectl exec -i -n {pods.namespace} {{name}} -- {{command}}"
    return "\n".join(
        f'[[hosts]]\nname = "{name}"\ndata_address = "{name}.{pods.name}"\nconnect = "{exec_in}"\n'
        for name in (f"{pods.name}-{number}" for number in range(pods.count))
    )


def _metadata(pods: Pods) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": pods.name, "labels": pods.labels}
    if pods.namespace is not None:
        metadata["namespace"] = pods.namespace
    return metadata


def _service(pods: Pods) -> dict[str, Any]:
    """Return the Service that gives each pod a name; it has no address and no ports of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(pods),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # a name must not vanish in the middle of a trial
            "selector": pods.labels,
        },
    }


def _network_policy(pods: Pods) -> dict[str, Any]:
    """Return the policy: pods connect to each other's ports of TensorFlow, and ask for names."""
    first, last = pods.ports
    peers = [{"podSelector": {"matchLabels": pods.labels}}]
    tensorflow = [{"protocol": "TCP", "port": first, "endPort": last}]
    names = [{"protocol": protocol, "port": _DNS_PORT} for protocol in ("UDP", "TCP")]
    system = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    resolvers = [{"namespaceSelector": system}, {"ipBlock": {"cidr": _NODE_LOCAL_DNS}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(pods),
        "spec": {
            "podSelector": {"matchLabels": pods.labels},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers, "ports": tensorflow}],
            "egress": [
                {"to": peers, "ports": tensorflow},
                {"to": resolvers, "ports": names},
            ],
        },
    }


def _stateful_set(pods: Pods) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pods.labels},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(pods),
        "spec": {
            "serviceName": pods.name,
            "replicas": pods.count,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": pods.labels},
            "template": {
                "metadata": {"labels": pods.labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 10,
                    "topologySpreadConstraints": [spread],
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": IMAGE_USER,
                        "runAsGroup": IMAGE_USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [_container(pods)],
                    "volumes": [
                        {"name": "scratch", "emptyDir": {}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def _container(pods: Pods) -> dict[str, Any]:
    """Return the container; the image's start program remains its main process."""
    quantities = {
        "cpu": str(pods.cores),
        "memory": pods.memory,
        "ephemeral-storage": pods.disk,
    }
    return {
        "name": "host",
        "image": pods.image,
        "args": [HOST_COMMAND],
        "resources": {"requests": quantities, "limits": quantities},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # Ready when the start program is done; nothing is probed after that, during a trial.
        "startupProbe": {
            "exec": {"command": ["test", "-d", ENVIRONMENTS]},
            "periodSeconds": 1,
            "failureThreshold": _START_TRIES,
        },
        "volumeMounts": [
            {"name": "scratch", "mountPath": SCRATCH},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of this pod alone
        ],
    }
