from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from dnnbench.errors import HostError
from dnnbench.hosts.parallel import each
from dnnbench.hosts.provision.bundle import Wheel
from dnnbench.hosts.provision.steps import Sites, Step, provision
from dnnbench.hosts.provision.wanted import Wanted, environment_of
from dnnbench.settings.schema import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnnbench.hosts.provision.tools import HostTools

HOSTS = [f"node{number}" for number in range(1, 6)]
KEY, _ = environment_of("x86_64")
WANTED = Wanted(wheel=Wheel("dnnbench.whl", "new", b""), data=[], wheels=[])


class Home:
    """A directory that hosts share.

    Attributes:
        asked: hosts, as often as they were asked for facts.
        installed: hosts that installed the package.
    """

    def __init__(self, *packages: str, fails: bool = False) -> None:
        self.packages = list(packages)
        self.fails = fails
        self.asked: list[str] = []
        self.installed: list[str] = []
        self.steps: dict[str, list[Step]] = {name: [] for name in HOSTS}

    def provision(self) -> dict[str, Any]:
        sites = Sites()
        hosts = [cast("HostTools", Host(name, self)) for name in HOSTS]

        def tell(host: str, step: Step) -> None:
            self.steps[host].append(step)

        return each(
            {tools.host: tools for tools in hosts},
            lambda name: provision(hosts[HOSTS.index(name)], Config(), WANTED, sites, tell),
        )

    def states(self, step: str) -> list[str]:
        return sorted(
            told.state for steps in self.steps.values() for told in steps if told.name == step
        )


class Host:
    """What provisioning asks of a host."""

    def __init__(self, host: str, home: Home) -> None:
        self.host = host
        self.connection = self
        self._home = home

    def call(self, command: str, **_: Any) -> dict[str, Any]:
        assert command == "facts"
        self._home.asked.append(self.host)
        return {
            "directory": "/home/u/.dnnbench",
            "directory_id": "0" * 32,
            "hostname": "h",
            "user": "u",
            "machine": "x86_64",
            "cpu_flags_missing": [],
            "cores": 2.0,
            "memory_bytes": 1,
            "disk_free_bytes": 1,
            "addresses": [],
            "environments": [KEY],
            "packages": list(self._home.packages),
            "data": {},
            "pythons": [],
            "ports_free": 9,
            "ports_used": [],
            "clock_s": 0.0,
        }

    def push(self, content: bytes, remote: str) -> None:
        assert remote.endswith(WANTED.wheel.file_name)
        assert content == WANTED.wheel.content

    def lines(self, command: str, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        assert command == "install"
        self._home.installed.append(self.host)
        if self._home.fails:
            yield {"state": "failed", "problem": "no disk space", "remedy": "free some"}
            return
        self._home.packages.append("new")
        yield {"state": "changed"}


def test_hosts_of_one_home_are_asked_once_where_there_is_nothing_to_do() -> None:
    home = Home("new")
    home.provision()
    assert sorted(home.asked) == HOSTS
    assert not home.installed
    assert home.states("package") == ["ok"] * 5


def test_hosts_of_one_home_look_again_once_one_of_them_has_changed_something() -> None:
    home = Home()
    outcomes = home.provision()
    assert not [outcome for outcome in outcomes.values() if isinstance(outcome, HostError)]
    assert len(home.installed) == 1
    assert home.states("package") == ["changed", "ok", "ok", "ok", "ok"]


def test_hosts_of_one_home_name_the_one_that_failed() -> None:
    home = Home(fails=True)
    errors = home.provision()
    (leader,) = home.installed
    assert errors.pop(leader).problem == "no disk space"
    assert {error.remedy for error in errors.values()} == {f"see {leader}"}
