"""A host as the user lists it."""

from __future__ import annotations

import msgspec

from dnnbench.settings.values import Count, HostName, Name, Port, Positive


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host as a list of hosts names it.

    Attributes:
        address: for SSH; None where the name is the address.
        port: None for the one of the user's own settings for SSH, else 22.
        key: path of the private key.
        data_address: for TensorFlow's traffic where that is another network than SSH's.
        slots: tasks it takes at once.
    """

    name: HostName
    address: HostName | None = None
    port: Port | None = None
    user: Name | None = None
    key: Name | None = None
    data_address: HostName | None = None
    slots: Count = 1
    usd_per_hour: Positive | None = None
