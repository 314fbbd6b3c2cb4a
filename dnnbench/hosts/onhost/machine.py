"""Features of the processor and addresses of this host, from the kernel's files."""

from __future__ import annotations

import os
import socket

from dnnbench.kernel import read

# TensorFlow's x86-64 wheels are built with -mavx ("avx_linux" in its .bazelrc), since 1.6
# (https://www.tensorflow.org/install/pip, hardware requirements). The names are the kernel's.
NEEDED_FLAGS = {"x86_64": ("avx",)}


def missing_cpu_flags(machine: str, cpuinfo: str = "/proc/cpuinfo") -> list[str]:
    """Return the processor features that TensorFlow's wheels need and this processor lacks."""
    needed = NEEDED_FLAGS.get(machine, ())
    for line in read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return sorted(set(needed).difference(value.split()))
    return []  # the kernel lists no features


def addresses(net: str = "/proc/net") -> list[str]:
    """Return the addresses of this host, including loopback."""
    found = set()
    above = ""
    for line in read(os.path.join(net, "fib_trie")).splitlines():
        # A leaf is two lines: its address, then its type.
        if line.strip() == "/32 host LOCAL":
            found.add(above.rpartition(" ")[2])
        above = line
    for line in read(os.path.join(net, "if_inet6")).splitlines():
        packed = bytes.fromhex(line.split()[0])
        found.add(socket.inet_ntop(socket.AF_INET6, packed))
    return sorted(found)
