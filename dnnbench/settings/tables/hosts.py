"""``[ssh]``, ``[cluster]`` and ``[provision]``: connections, processes and software of hosts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dnnbench.settings.setting import CLUSTER, PROVISIONED, Setting
from dnnbench.settings.values import LocalPath, Name, Seconds, Variable

HostPath = Annotated[
    str,
    Meta(
        pattern=r"^~?/[^\x00-\x1f]+\Z",
        max_length=4000,
        description="an absolute path, or one that begins with ~/",
    ),
]
PortRange = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,5}-[0-9]{1,5}\Z",
        description="two ports with a dash, such as 23000-23999",
    ),
]


class SshConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Connections to the hosts."""

    connect_timeout_s: Annotated[
        Seconds, Setting("Timeout in seconds of a TCP connection.", commands=())
    ] = 10.0
    login_timeout_s: Annotated[
        Seconds,
        Setting(
            "Timeout in seconds of the server's banner, and of the authentication.",
            "A busy host is slow at both.",
            commands=(),
        ),
    ] = 30.0
    tries: Annotated[
        int,
        Meta(ge=1, le=100),
        Setting(
            "Attempts to connect, with growing pauses; a refused key is not tried again.",
            commands=(),
        ),
    ] = 4
    connections: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Connections opened at the same time.",
            "With 10 or more, sshd's default configuration drops some that have not logged in yet.",
            commands=(),
        ),
    ] = 8
    config: Annotated[LocalPath, Setting("Your SSH configuration.", commands=())] = "~/.ssh/config"
    known_hosts: Annotated[LocalPath, Setting("File of trusted host keys.", commands=())] = (
        "~/.ssh/known_hosts"
    )


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Processes of dnnbench on the hosts."""

    directory: Annotated[
        HostPath,
        Setting(
            "Directory on every host for everything that dnnbench stores there.",
            commands=(*PROVISIONED, "status", "stop"),
            metavar="DIR",
        ),
    ] = "~/.dnnbench"
    ports: Annotated[
        PortRange,
        Setting(
            "Range of ports, within 1024 to 65535, for TensorFlow's servers.",
            "One range, so that one firewall rule covers it; below 32768, where the ports begin "
            "that Linux gives to outgoing connections.",
            commands=(*PROVISIONED, "manifest"),
            metavar="N-N",
        ),
    ] = "23000-23999"
    lease_s: Annotated[
        Seconds,
        Setting(
            "Seconds without a controller after which a launched cluster ends.",
            commands=("launch",),
        ),
    ] = 3600.0
    share: Annotated[
        bool,
        Setting(
            "Also use hosts that another cluster occupies.",
            "Each would then disturb the other's measurements.",
            commands=CLUSTER,
        ),
    ] = False
    firewall: Annotated[
        bool,
        Setting(
            "Admit only the cluster's own addresses to its ports; needs root on the hosts.",
            commands=CLUSTER,
        ),
    ] = False

    environment: Annotated[
        tuple[Variable, ...],
        Setting(
            "Environment variables for the processes that train, NAME with its value here or "
            "NAME=VALUE; a model of yours may read them.",
            "All others are dropped but those that change how TensorFlow computes. Results have "
            "names and written values; the value of a NAME alone is not stored.",
            commands=CLUSTER,
            metavar="NAME[=VALUE],...",
        ),
    ] = ()

    @property
    def port_range(self) -> tuple[int, int]:
        """First and last of ``ports``."""
        first, _, last = self.ports.partition("-")
        return int(first), int(last)


class ProvisionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Software on the hosts."""

    python: Annotated[
        Name | None,
        Setting(
            "Python interpreter on the hosts.",
            unset="the best one on each host",
            example="python3.12",
            commands=("provision",),
        ),
    ] = None
    index_url: Annotated[
        Name | None,
        Setting(
            "Package index. A login in the URL is never stored or shown.",
            unset="each host's own",
            example="https://pypi.example/simple",
            commands=("provision",),
            metavar="URL",
            is_secret=True,
        ),
    ] = None
    uv: Annotated[
        bool,
        Setting(
            "Install with uv on hosts that have it or take this machine's, else with pip.",
            "uv takes a third of pip's time. It does not read pip's settings: a host that has any "
            "uses pip, unless index_url or wheels are given.",
            commands=("provision",),
        ),
    ] = True
    wheels: Annotated[
        LocalPath | None,
        Setting(
            "Local directory of wheels to copy to hosts without a package index.",
            unset="none",
            example="wheels",
            commands=("provision",),
            metavar="DIR",
        ),
    ] = None
