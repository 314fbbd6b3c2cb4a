"""A host as the user lists it."""

from __future__ import annotations

import msgspec

from dnnbench.settings.hostlists.connect import SSH
from dnnbench.settings.values import Count, HostName, LocalPath, Name, Port, Price


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host with the fields that a list of hosts can give it.

    Attributes:
        address: for SSH; None if the name is the address.
        port: None for the port in the user's SSH configuration, or else 22.
        key: path of the private key.
        connect: kind of connection, or a template; see `dnnbench.settings.hostlists.connect`.
        data_address: for TensorFlow's traffic if it uses another network than SSH.
        slots: tasks that it runs at once.
    """

    name: HostName
    address: HostName | None = None
    port: Port | None = None
    user: Name | None = None
    key: LocalPath | None = None
    data_address: HostName | None = None
    slots: Count = 1
    usd_per_hour: Price | None = None
    connect: Name = SSH
