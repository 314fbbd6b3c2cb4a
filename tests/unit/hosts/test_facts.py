"""Whether what a host is will do, and what hosts must have."""

from __future__ import annotations

import hashlib
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from dnnbench.data import catalog
from dnnbench.errors import ConfigError, HostError
from dnnbench.hosts.agents.launching import admitted_addresses
from dnnbench.hosts.provision import bundle
from dnnbench.hosts.provision.answers import refuse_error
from dnnbench.hosts.provision.facts import (
    Facts,
    HostPython,
    chosen_python,
    facts_of,
    refuse_unfit,
    refuse_unprovisioned,
    twins,
)
from dnnbench.hosts.provision.wanted import (
    DataFile,
    Wanted,
    environment_of,
    wanted_for,
)
from dnnbench.settings.schema import ClusterConfig, Config, ProvisionConfig, TrainConfig
from dnnbench.sweep.placement import Host
from dnnbench.trial.spec import DataSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.hosts.provision.tools import HostTools

KEY, _ = environment_of("x86_64")
OTHER_KEY, _ = environment_of("aarch64")
HERE = ".".join(platform.python_version_tuple()[:2])


def facts(**changes: Any) -> Facts:
    """Return a host that will do and has nothing of dnnbench."""
    fields: dict[str, Any] = {
        "directory": "/home/me/.dnnbench",
        "directory_id": "1",
        "hostname": "node1",
        "user": "me",
        "machine": "x86_64",
        "cpu_flags_missing": [],
        "cores": 4.0,
        "memory_bytes": 1 << 34,
        "disk_free_bytes": 10**11,
        "environments": [],
        "packages": [],
        "data": {},
        "pythons": [],
        "ports_free": 1000,
        "ports_used": [],
        "addresses": ["127.0.0.1", "10.0.0.1"],
    }
    return Facts(**{**fields, **changes})


def python(version: str, *, venv: bool = True) -> HostPython:
    return HostPython(f"/usr/bin/python{version}", f"{version}.1", venv)


@pytest.mark.parametrize(
    ("versions", "version"),
    [
        (["3.13", HERE, "3.10"], HERE),
        (["3.9", "3.10", "3.14"], "3.10"),
        (["3.10", "3.13", "3.12"], "3.13" if HERE not in {"3.10", "3.12"} else HERE),
    ],
)
def test_the_python_of_this_side_is_chosen_else_the_newest_that_fits(
    versions: list[str], version: str
) -> None:
    found = facts(pythons=[python(each) for each in versions])
    chosen = chosen_python(found, Config(), "node1")
    assert chosen is not None
    assert chosen.path == f"/usr/bin/python{version}"


def test_a_python_without_venv_is_passed_over() -> None:
    found = facts(pythons=[python(HERE, venv=False), python("3.10" if HERE != "3.10" else "3.11")])
    chosen = chosen_python(found, Config(), "node1")
    assert chosen is not None
    assert chosen.venv


def test_where_an_environment_is_no_python_and_no_space_is_needed() -> None:
    assert chosen_python(facts(environments=[KEY], disk_free_bytes=0), Config(), "node1") is None
    other = facts(machine="aarch64", environments=[OTHER_KEY], pythons=[])
    assert chosen_python(other, Config(), "node1") is None


GPU = Config(train=TrainConfig(device="gpu"))


def test_a_host_without_a_gpu_is_refused_where_workers_want_one() -> None:
    refuse_unfit(facts(), Config(), "node1")
    refuse_unfit(facts(gpus=1), GPU, "node1")
    with pytest.raises(HostError) as caught:
        refuse_unfit(facts(), GPU, "node1")
    assert str(caught.value) == (
        "node1: there is no NVIDIA GPU whose driver is loaded (no /dev/nvidia0); choose --device "
        "cpu, or hosts that all have one"
    )


def test_the_build_with_a_gpu_is_an_environment_of_its_own() -> None:
    key, needed = environment_of("x86_64", "gpu")
    assert key != KEY
    assert needed[0].startswith("tensorflow[and-cuda]==")
    wanted = msgspec.structs.replace(wanted_for(GPU, None), device="gpu")
    assert wanted_for(GPU, None) == wanted
    assert facts(environments=[KEY]).lacking(wanted)["TensorFlow's environment"] == "version"
    assert "TensorFlow's environment" not in facts(environments=[key]).lacking(wanted)
    with pytest.raises(HostError, match="environment needs 8"):
        chosen_python(facts(disk_free_bytes=7 * 10**9), GPU, "node1")


OLD, BARE = [python("3.8"), python("3.14")], [python("3.12", venv=False)]
NAMED = Config(provision=ProvisionConfig(python="python3.8"))


@pytest.mark.parametrize(
    ("changes", "config", "line"),
    [
        (
            {"pythons": OLD},
            Config(),
            (
                "expected Python 3.10 to 3.13, found /usr/bin/python3.8 (3.8.1), "
                "/usr/bin/python3.14 (3.14.1); install one there, or name one in [provision] python"
            ),
        ),
        (
            {},
            NAMED,
            (
                "expected Python 3.10 to 3.13, found none; install one there, or name another in "
                "[provision] python"
            ),
        ),
        (
            {"pythons": BARE},
            Config(),
            (
                "/usr/bin/python3.12 cannot make virtual environments: its venv or ensurepip is "
                "missing; install it there (Debian: apt install python3.12-venv), or name one in "
                "[provision] python"
            ),
        ),
        (
            {"disk_free_bytes": 1_900_000_000, "pythons": [python(HERE)]},
            Config(),
            (
                "no disk space: /home/me/.dnnbench has 1.9 GB free, the environment needs 2.0 GB; "
                "free some space there, or set [cluster] directory to another disk"
            ),
        ),
    ],
)
def test_a_host_where_no_environment_can_be_made_is_told_why(
    changes: dict[str, Any], config: Config, line: str
) -> None:
    with pytest.raises(HostError) as caught:
        chosen_python(facts(**changes), config, "node1")
    assert str(caught.value) == f"node1: {line}"


def test_a_processor_or_ports_that_will_not_do_are_refused() -> None:
    refuse_unfit(facts(ports_free=1), Config(), "node1")
    with pytest.raises(
        HostError, match=r"^node1: the processor lacks avx, which TensorFlow's"
    ) as caught:
        refuse_unfit(facts(cpu_flags_missing=["avx"]), Config(), "node1")
    assert "use another host" in str(caught.value)
    config = Config(cluster=ClusterConfig(ports="21000-21009"))
    with pytest.raises(HostError, match=r"no port in 21000-21009 is free"):
        refuse_unfit(facts(ports_free=0), config, "node1")


def test_what_is_odd_and_no_hindrance_is_a_warning() -> None:
    quiet = facts(clock_offset_s=0.9, addresses=["192.168.1.2", "fe80::1", "::1"])
    assert quiet.warnings("node1", Config()) == []
    odd = facts(clock_offset_s=-90.04, addresses=["10.0.0.1", "8.8.8.8", "2a00:1450::1"])
    clock, public = odd.warnings("node1", Config())
    assert clock == (
        "node1: its clock is -90.0 s off, which affects logs but not durations; let it use NTP"
    )
    assert public.startswith("node1: it has the public address 8.8.8.8, and anybody who reaches")
    guarded = Config(cluster=ClusterConfig(firewall=True))
    assert odd.warnings("node1", guarded) == [clock]


class Tools:
    """A host's tools, slow and with a clock that is ahead."""

    host = "node1"

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self.request: dict[str, Any] = {}

    def call(self, command: str, **request: Any) -> dict[str, Any]:
        self.request = {"command": command, **request}
        return {**msgspec.to_builtins(facts()), "clock_s": time.time() + self._ahead_s}


def test_a_clock_is_compared_with_the_middle_of_asking() -> None:
    tools = Tools(ahead_s=100.0)
    need = Wanted(bundle.wheel(), [DataFile(Path("x"), "data/x", "abc")], [])
    found = facts_of(cast("HostTools", tools), Config(), need)
    assert found.clock_offset_s == pytest.approx(100.0, abs=1.0)
    assert tools.request["environments"] == [KEY, OTHER_KEY]
    assert tools.request["data"] == [{"path": "data/x", "sha256": "abc"}]


def test_what_a_host_lacks_is_named_together() -> None:
    need = Wanted(bundle.Wheel("w.whl", "new", b""), [DataFile(Path("x"), "data/x", "abc")], [])
    bare = facts(packages=["old"], environments=[OTHER_KEY], data={"data/x": "wrong"})
    with pytest.raises(HostError, match="environment and this version of dnnbench and the data se"):
        refuse_unprovisioned(bare, need, "node1")
    ready = facts(packages=["old", "new"], environments=[KEY], data={"data/x": "ok"})
    refuse_unprovisioned(ready, need, "node1")


def test_data_of_a_set_lies_under_its_digest_with_the_checksum_of_each_file(tmp_path: Path) -> None:
    names = [file.name for file in catalog.file_set("mnist").files]
    for number, name in enumerate(names):
        (tmp_path / (f"{name}.gz" if number % 2 else name)).write_bytes(name.encode())
    order = DataSpec("mnist", str(tmp_path), "0123456789abcdefXYZ")
    need = wanted_for(Config(), order)
    assert need.data_directory == "data/0123456789abcdef"
    for number, (name, file) in enumerate(zip(names, need.data, strict=True)):
        assert file.path == f"data/0123456789abcdef/{name}{'.gz' if number % 2 else ''}"
        assert file.sha256 == hashlib.sha256(name.encode()).hexdigest()


def test_a_users_own_arrays_are_pushed_as_one_file_whatever_the_noise(tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(b"arrays")
    (tmp_path / "notes.txt").write_bytes(b"nobody asked for them")
    order = DataSpec("directory:own", str(tmp_path), "0123456789abcdefXYZ", label_noise=0.2)
    (file,) = wanted_for(Config(), order).data
    assert file.path == "data/0123456789abcdef/own.npz"
    assert file.sha256 == hashlib.sha256(b"arrays").hexdigest()


def test_generated_data_is_not_pushed() -> None:
    order = DataSpec(catalog.SYNTHETIC, None, catalog.SYNTHETIC_DIGEST)
    need = wanted_for(Config(), order)
    assert (need.data, need.data_directory) == ([], None)


def test_wheels_are_all_that_is_in_their_directory(tmp_path: Path) -> None:
    for name in ("b-1-py3-none-any.whl", "a-1-py3-none-any.whl", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    need = wanted_for(Config(provision=ProvisionConfig(wheels=str(tmp_path))), None)
    assert [file.path for file in need.wheels] == [
        "wheels/a-1-py3-none-any.whl",
        "wheels/b-1-py3-none-any.whl",
    ]


@pytest.mark.parametrize(("name", "found"), [("empty", "none"), ("absent", "no such directory")])
def test_a_directory_without_wheels_is_refused_before_any_host_is_asked(
    tmp_path: Path, name: str, found: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=f"expected wheels, found {found}") as caught:
        wanted_for(Config(provision=ProvisionConfig(wheels=str(tmp_path / name))), None)
    assert "pip download" in str(caught.value.remedy)


def test_machines_without_a_build_for_the_processor_alone_get_the_other_one() -> None:
    assert environment_of("aarch64")[1][0].startswith("tensorflow==")
    assert environment_of("x86_64")[1][0].startswith("tensorflow-cpu==")


def test_a_firewall_admits_every_address_that_a_host_may_come_from() -> None:
    known = {
        "node1": facts(addresses=["127.0.0.1", "10.0.0.1", "fd00::1", "::1"]),
        "node2": facts(addresses=["127.0.0.1", "10.0.0.2"]),
    }
    hosts = [Host("node1", "[fd00::9]"), Host("node2", "192.168.0.2"), Host("node3", "by.name")]
    admitted = admitted_addresses(known, hosts)
    assert admitted == ["10.0.0.1", "10.0.0.2", "192.168.0.2", "fd00::1", "fd00::9"]


def test_a_host_listed_under_two_names_is_named_by_both() -> None:
    ids = {"a": "1", "b": "2", "c": "1", "d": None, "e": None}
    found = twins({name: facts(host_id=host_id) for name, host_id in ids.items()})
    assert list(found) == ["c"]
    assert str(found["c"]).startswith("c: is the same host as a; list it once")


def unfit() -> None:
    refuse_unfit(facts(cpu_flags_missing=["avx"]), Config(), "node1")


def without_ports() -> None:
    refuse_unfit(facts(ports_free=0), Config(), "node1")


def without_disk() -> None:
    chosen_python(facts(disk_free_bytes=1), Config(), "node1")


def without_python() -> None:
    chosen_python(facts(pythons=[python("3.8")]), Config(), "node1")


def without_software() -> None:
    refuse_unprovisioned(facts(), wanted_for(Config(), None), "node1")


def without_data() -> None:
    file = DataFile(Path("x"), "data/x", "0" * 64)
    wanted = msgspec.structs.replace(wanted_for(Config(), None), data=[file])
    ready = facts(environments=[KEY], packages=[wanted.wheel.digest])
    refuse_unprovisioned(ready, wanted, "node1")


def full_according_to_its_tools() -> None:
    problem = {"problem": "no space left", "remedy": None, "kind": "disk-full"}
    refuse_error("node1", {"error": problem})


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (unfit, "illegal-instruction"),
        (without_ports, "port"),
        (without_disk, "disk-full"),
        (without_python, "version"),
        (without_software, "version"),
        (without_data, "data"),
        (full_according_to_its_tools, "disk-full"),
    ],
)
def test_a_host_that_is_refused_has_a_kind_of_cause(ask: Callable[[], None], kind: str) -> None:
    with pytest.raises(HostError) as caught:
        ask()
    assert caught.value.kind == kind
