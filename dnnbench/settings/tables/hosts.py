"""``[ssh]``, ``[cluster]`` and ``[provision]``: the hosts, what runs on them, what they need."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dnnbench.settings.setting import CLUSTER, PROVISIONED, Setting
from dnnbench.settings.values import LocalPath, Name, Seconds

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
    Meta(pattern=r"^[0-9]{1,5}-[0-9]{1,5}\Z", description="two ports with a dash, as 23000-23999"),
]


class SshConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The connections to the hosts."""

    connect_timeout_s: Annotated[Seconds, Setting("Seconds for a TCP connection.", commands=())] = (
        10.0
    )
    login_timeout_s: Annotated[
        Seconds,
        Setting(
            "Seconds for the server's banner and for authentication, each.",
            "A busy host takes long over both.",
            commands=(),
        ),
    ] = 30.0
    tries: Annotated[
        int,
        Meta(ge=1, le=100),
        Setting(
            "Tries of a connection, with growing pauses; a refused key is not tried again.",
            commands=(),
        ),
    ] = 4
    connections: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Connections opened at once.",
            "From 10 on, sshd in its default configuration drops some that have not logged in yet.",
            commands=(),
        ),
    ] = 8
    config: Annotated[LocalPath, Setting("Your own settings for SSH.", commands=())] = (
        "~/.ssh/config"
    )
    known_hosts: Annotated[LocalPath, Setting("The keys that hosts must show.", commands=())] = (
        "~/.ssh/known_hosts"
    )


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The processes of dnnbench on the hosts."""

    directory: Annotated[
        HostPath,
        Setting(
            "Directory on every host for all that dnnbench leaves there.",
            commands=(*PROVISIONED, "status", "stop"),
            metavar="DIR",
        ),
    ] = "~/.dnnbench"
    ports: Annotated[
        PortRange,
        Setting(
            "First and last port, 1024 to 65535, that TensorFlow's servers may listen on.",
            "One range, so that one rule of a firewall covers it. Linux gives its own connections "
            "ports from 32768 on; these are below.",
            commands=PROVISIONED,
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
            "Also use hosts that somebody else's cluster has taken.",
            "Both would then measure each other.",
            commands=CLUSTER,
        ),
    ] = False
    firewall: Annotated[
        bool,
        Setting(
            "Admit only the cluster's own addresses to its ports; takes root on the hosts.",
            commands=CLUSTER,
        ),
    ] = False

    @property
    def port_range(self) -> tuple[int, int]:
        """First and last of ``ports``."""
        first, _, last = self.ports.partition("-")
        return int(first), int(last)


class ProvisionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The software on the hosts."""

    python: Annotated[
        Name | None,
        Setting(
            "Interpreter on the hosts.",
            unset="the best that each has",
            example="python3.12",
            commands=("provision",),
        ),
    ] = None
    index_url: Annotated[
        Name | None,
        Setting(
            "Package index. A login in it is never stored or shown.",
            unset="each host's own",
            example="https://pypi.example/simple",
            commands=("provision",),
            metavar="URL",
            is_secret=True,
        ),
    ] = None
    wheels: Annotated[
        LocalPath | None,
        Setting(
            "Local directory of wheels to push to hosts without an index.",
            unset="none is pushed",
            example="wheels",
            commands=("provision",),
            metavar="DIR",
        ),
    ] = None
