"""One contract for every kind of connection: commands, conversations and files on a host."""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.kept import KeptHost
from support.stand_in import containers

from benchmarks.testbed.processes import Witness, children_of
from dnnbench.errors import HostError
from dnnbench.hosts.connectors.table import CONNECTORS, routes_to
from dnnbench.hosts.provision.tools import HostTools
from dnnbench.settings.hostlists.connect import COMMAND, NAMED
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.schema import ClusterConfig, Config, ProvisionConfig, SshConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import StartHosts

    from dnnbench.hosts.connectors.interface import Connection

TIMEOUT_S = 30.0
SOON_S = 10.0
"""A process that is to end has ended within this."""
KINDS = ("ssh", "local", "exec", "openssh", "exec behind openssh")


def reach(connect: str, name: str = "node2", settings: SshConfig | None = None) -> Connection:
    """Connect to a host that has only a name."""
    settings = settings or SshConfig()
    return routes_to([HostConfig(name, connect=connect)], settings)[name].connect(settings)


@pytest.fixture
def connection(
    request: pytest.FixtureRequest, tmp_path: Path, start_hosts: StartHosts
) -> Iterator[Connection]:
    """A connection of each kind; a directory of the test is home everywhere but on this machine."""
    kind = request.param
    if kind == "local":
        opened = reach("local")
    elif kind == "exec":
        opened = reach(containers(1, tmp_path / "containers").template)
    else:
        hosts = start_hosts(1, first=2)
        over_ssh = (
            f"ssh -F {hosts.ssh_config} -o BatchMode=yes -o IdentityAgent=none "
            f"-o UserKnownHostsFile={hosts.known_hosts} -i {hosts.key} -l {hosts.user}"
        )
        if kind == "ssh":
            (host,) = hosts.configs
            opened = routes_to([host], hosts.settings)[host.name].connect(hosts.settings)
        elif kind == "openssh":
            opened = reach(f"{over_ssh} {{name}} {{command}}", "node1")
        else:
            template = containers(1, tmp_path / "containers").template
            opened = reach(f"{over_ssh} node1 {template}")
    with closing(opened):
        yield opened


every_kind = pytest.mark.parametrize("connection", KINDS, indirect=True)


def test_every_kind_has_an_entry() -> None:
    assert set(CONNECTORS) == {*NAMED, COMMAND}


@every_kind
def test_the_contract(connection: Connection, tmp_path: Path) -> None:
    """One test for one connection: an SSH server takes longer to start than all of it."""
    a_command_gets_its_input_and_gives_both_outputs_and_its_code(connection)
    streams_do_not_block_each_other(connection)
    a_conversation_is_held_in_lines(connection)
    a_file_is_pushed_whole(connection, tmp_path)
    what_stands_in_the_way_of_a_file_is_named(connection, tmp_path)
    a_command_that_takes_too_long_is_given_up(connection)
    the_tools_can_be_called(connection, tmp_path)
    a_closed_connection_leaves_nothing_behind(connection)


def a_command_gets_its_input_and_gives_both_outputs_and_its_code(connection: Connection) -> None:
    assert connection.run("cat; echo no >&2; exit 3", b"yes\0\xff") == (3, b"yes\0\xff", b"no\n")
    odd = 'it\'s "$HOME" & `two`;  words\\'
    assert connection.run(f"printf %s {shlex.quote(odd)}").stdout == odd.encode()
    connection.refuse_unusable()
    assert connection.is_open


def streams_do_not_block_each_other(connection: Connection) -> None:
    command = "head -c 900000 /dev/zero; head -c 900000 /dev/zero >&2; wc -c >&2"
    done = connection.run(command, bytes(900_000))
    assert (len(done.stdout), done.stderr[-7:]) == (900_000, b"900000\n")


def a_conversation_is_held_in_lines(connection: Connection) -> None:
    echo = 'while read -r line; do echo "<$line>"; done; echo bye >&2'
    with closing(connection.open(echo, name="echo")) as stream:
        stream.write(b"one\ntwo\n")
        assert [stream.read_line(TIMEOUT_S), stream.read_line(TIMEOUT_S)] == [
            b"<one>\n",
            b"<two>\n",
        ]
        with pytest.raises(HostError, match=r"`echo` printed nothing for 0\.1 s"):
            stream.read_line(0.1)
        assert stream.host == connection.host


def a_file_is_pushed_whole(connection: Connection, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(os.urandom(300_000))
    there = tmp_path / "it's a $folder" / "deep" / "file"
    connection.push(local, str(there))
    assert there.read_bytes() == local.read_bytes()
    assert stat.S_IMODE(there.stat().st_mode) == 0o600
    assert stat.S_IMODE(there.parent.stat().st_mode) == 0o700
    connection.push(b"", str(there))
    assert [path.read_bytes() for path in there.parent.iterdir()] == [b""]


def what_stands_in_the_way_of_a_file_is_named(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"{tmp_path}/local/x cannot be written: .*; is the disk"):
        connection.push(b"x", f"{tmp_path}/local/x")
    assert connection.run("echo still there").stdout == b"still there\n"


def a_command_that_takes_too_long_is_given_up(connection: Connection) -> None:
    with pytest.raises(HostError, match=r"`a wait` did not end within 0\.5 s; is the host"):
        connection.run("exec sleep 5", timeout_s=0.5, name="a wait")


def the_tools_can_be_called(connection: Connection, tmp_path: Path) -> None:
    config = Config(
        cluster=ClusterConfig(directory=str(tmp_path / "dnnbench")),
        provision=ProvisionConfig(python=sys.executable),
    )
    tools = HostTools(connection, config)
    assert tools.call("status")["clusters"] == []
    assert tools.begin("status")["clusters"] == []
    with pytest.raises(HostError, match="`facts` ended without an answer: KeyError: 'ports'"):
        tools.begin("facts")


def a_closed_connection_leaves_nothing_behind(connection: Connection) -> None:
    stream = connection.open("echo $$; exec cat")
    with Witness([int(stream.read_line(TIMEOUT_S))]) as witness:
        connection.close()
        assert witness.alive_after(SOON_S) == []
    assert not connection.is_open
    with pytest.raises(HostError):
        connection.run("true")


# --- connections whose commands are processes here ------------------------------------------------


@pytest.mark.parametrize("connection", ["openssh"], indirect=True)
def test_what_runs_on_the_host_ends_with_a_killed_connector(connection: Connection) -> None:
    before = set(children_of(os.getpid()))
    stream = connection.open("echo $$; exec cat", name="cat")
    with closing(stream), Witness([int(stream.read_line(TIMEOUT_S))]) as witness:
        (ssh,) = set(children_of(os.getpid())) - before
        os.kill(ssh, signal.SIGKILL)
        assert stream.read_line(TIMEOUT_S) == b""
        with pytest.raises(HostError, match="`cat` has ended"):
            stream.write(bytes(1 << 20))
        assert witness.alive_after(SOON_S) == []


def test_a_connector_that_is_killed_is_named_with_its_signal() -> None:
    with (
        closing(reach("local")) as connection,
        pytest.raises(HostError, match="node2: `sh` was ended by signal 9 while `facts` ran"),
    ):
        connection.run("kill -9 $$", name="facts")


def test_a_conversation_that_is_left_runs_on_without_its_connection() -> None:
    connection = reach("local")
    stream = connection.open("echo $$; read -r line; exec sleep 60")
    pid = int(stream.read_line(TIMEOUT_S))
    stream.leave()
    connection.close()
    with Witness([pid]) as witness:
        assert witness.alive_after(0.2) == [pid]
        os.kill(pid, signal.SIGKILL)
        assert witness.alive_after(SOON_S) == []


def test_where_all_ends_with_its_command_a_start_stays_until_its_keeper_ends(
    tmp_path: Path,
) -> None:
    config = Config(
        cluster=ClusterConfig(directory=str(tmp_path)),
        provision=ProvisionConfig(python=sys.executable),
    )
    with KeptHost(tmp_path) as host:
        tools = HostTools(reach("local"), config)
        tools.call("status")
        before = set(children_of(os.getpid()))
        answer = tools.begin("start", **host.start_request(scope=host.scope, stay=True))
        host.keepers.append(answer["pid"])
        tools.connection.close()
        (start,) = set(children_of(os.getpid())) - before
        with Witness([start]) as witness:
            assert witness.alive_after(0.2) == [start]
            host.call("stop", cluster="c1")
            assert witness.alive_after(SOON_S) == []


def script(tmp_path: Path, text: str) -> str:
    """Write a program and return a template that uses it."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"{path} {{name}} {{command}}"


def test_a_file_that_loses_its_end_on_the_way_is_not_written(tmp_path: Path) -> None:
    connection = reach(script(tmp_path, 'shift; head -c 100000 | "$@"'))
    folder = tmp_path / "there"
    lost = f"the connection was lost while {folder}/file was written: a part of it did not arrive"
    with closing(connection), pytest.raises(HostError, match=lost):
        connection.push(bytes(200_000), f"{folder}/file")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("exit 3", "`program` ended with 3: no message"),
        ("echo 'Error: no such pod' >&2; echo 'see --help' >&2; exit 1", "1: Error: no such pod"),
        ("echo first >&2; echo last >&2; exit 1", "`program` ended with 1: last"),
        ("exit 0", "`program` runs no command there: `echo` printed ''"),
        ("echo hello", "`program` runs no command there: `echo` printed 'hello'"),
        ('echo Welcome; shift; exec "$@"', "something prints 'Welcome' before every command"),
        ("kill -9 $$", "`program` was ended by signal 9 while `echo dnnbench` ran"),
        ("exec sleep 60", "`echo dnnbench` did not end within 0.4 s"),
    ],
)
def test_a_connector_that_leads_nowhere_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    settings = SshConfig(connect_timeout_s=0.2, login_timeout_s=0.2 if "sleep" in text else 30.0)
    with pytest.raises(HostError, match=re.escape(line)) as caught:
        reach(script(tmp_path, text), settings=settings)
    assert str(caught.value).startswith("node2: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("program", "cause"), [("no-such-program", "No such file"), ("/dev/null", "Permission denied")]
)
def test_a_program_that_cannot_be_started_is_named(program: str, cause: str) -> None:
    line = f"node2: `{program}` cannot be started: {cause}.*; install it on this machine"
    with pytest.raises(HostError, match=line):
        reach(f"{program} {{name}} {{command}}")


def test_a_shell_that_a_template_names_gets_the_command_in_one_argument() -> None:
    with closing(reach("env NAME={name} sh -euc {command}")) as connection:
        assert connection.run('echo "$NAME" $0').stdout == b"node2 sh\n"
