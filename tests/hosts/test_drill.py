"""One of three hosts is bad: every command says so in a line, and the others come to no harm."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import pip
import pytest
from support.drill import PORTS, Drill

from benchmarks.testbed import sshd
from benchmarks.testbed.sshd import make_key
from dnnbench.cli import main
from dnnbench.errors import HostError
from dnnbench.hosts.ssh.sessions import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import StartHosts
    from support.drill import Result

BAD, GOOD = "node2", ["node1", "node3"]
SHORT_S = 0.5
LOGIN_S = 3.0
NOBODY = 65534
_numbers = itertools.count(1)
# Last parts of addresses, apart from those of tests that may run at the same time: a host is taken
# by its address.
FIRST = 20 + os.getpid() % 50 * 4
_addresses = itertools.count(FIRST + 3)


class Replace(Protocol):
    """Puts a bare host of its own in the bad one's place."""

    def __call__(self, path: Path | None = None) -> sshd.Sshd: ...


class Case(NamedTuple):
    """What a fault may use; all of it is undone after the test."""

    drill: Drill
    replace: Replace
    stack: contextlib.ExitStack

    @property
    def path(self) -> Path:
        return self.drill.path


class Fault(NamedTuple):
    """Something that is wrong with a host.

    Attributes:
        cause: pattern of what is said of it.
        cure: pattern of what is said to do.
        commands: that meet it; the others are not tried.
    """

    spoil: Callable[[Case], None]
    cause: str
    cure: str
    commands: tuple[str, ...] = ("provision", "check", "launch", "run")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Hosts]:
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(sshd.hosts(3, tmp_path_factory.mktemp("farm"), first=FIRST))
        except sshd.NotInstalledError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the seconds that drawing takes; nothing here looks at it."""
    monkeypatch.setattr("dnnbench.cli.run._report", lambda *_, **__: None)


@pytest.fixture(scope="module")
def packages(farm: sshd.Hosts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `dnnbench provision` installs on a host, for those that are not to wait for pip."""
    drill = Drill(tmp_path_factory.mktemp("first"), farm, "first")
    del drill.hosts["node2"], drill.hosts["node3"]
    drill.provision("node1")
    result = drill.call("provision")
    assert result.code == 0, result.err
    assert "changed" in result.out
    return drill.directory("node1") / "packages"


@pytest.fixture
def case(farm: sshd.Hosts, packages: Path, tmp_path: Path) -> Iterator[Case]:
    with contextlib.ExitStack() as stack:
        drill = Drill(tmp_path, farm, f"dnnbench{next(_numbers)}")
        for name in drill.hosts:
            drill.provision(name, packages)

        def replace(path: Path | None = None) -> sshd.Sshd:
            # Whoever runs the tests may have indexes of his own.
            environment = {"PIP_CONFIG_FILE": os.devnull} | ({"PATH": str(path)} if path else {})
            return drill.replace(
                BAD,
                stack.enter_context(
                    sshd.hosts(1, tmp_path / "bad", first=next(_addresses), environment=environment)
                ),
            )

        yield Case(drill, replace, stack)


# --- what can be wrong ----------------------------------------------------------------------------


def wrong_key(case: Case) -> None:
    case.drill.change(BAD, key=str(make_key(case.path / "stranger")))


def unknown_host_key(case: Case) -> None:
    line = case.drill.sshds[BAD].known_hosts_line
    case.drill.known_hosts = case.drill.known_hosts.replace(line, "")


def changed_host_key(case: Case) -> None:
    other = make_key(case.path / "other").with_suffix(".pub").read_text()
    line = case.drill.sshds[BAD].known_hosts_line
    case.drill.known_hosts = case.drill.known_hosts.replace(line, f"{line.split()[0]} {other}")


def _port(case: Case) -> socket.socket:
    """Have the bad host listed at a port of ours."""
    server = case.stack.enter_context(socket.socket())
    server.bind((case.drill.sshds[BAD].address, 0))
    case.drill.change(BAD, port=server.getsockname()[1])
    return server


def down(case: Case) -> None:
    _port(case)  # nobody else can listen there, and we do not


def dropping_packets(case: Case) -> None:
    case.drill.settings["ssh"]["connect_timeout_s"] = SHORT_S
    server = _port(case)
    server.listen(0)
    for _ in range(2):  # more than may wait to be accepted; the next one is not answered
        waiting = case.stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(server.getsockname())


def silent(case: Case) -> None:
    case.drill.settings["ssh"]["login_timeout_s"] = LOGIN_S
    _port(case).listen()


def unknown_name(case: Case) -> None:
    case.drill.change(BAD, address="nowhere.invalid")


def _mount(case: Case, options: str) -> None:
    case.replace()
    disk = case.drill.directory(BAD)
    disk.mkdir()
    options = f"{options},mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "dnnbench-test", str(disk)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    case.stack.callback(subprocess.run, ["umount", str(disk)], check=True)


def full_disk(case: Case) -> None:
    _mount(case, "size=4k")


def small_disk(case: Case) -> None:
    _mount(case, "size=1m")


def read_only_directory(case: Case) -> None:
    if os.getuid():
        case.replace()
        case.drill.directory(BAD).mkdir(0o500)
    else:
        _mount(case, "ro")


def file_for_directory(case: Case) -> None:
    case.replace()
    case.drill.directory(BAD).write_text("mine\n")


def shared_directory(case: Case) -> None:
    case.drill.directory(BAD).chmod(0o775)


def foreign_directory(case: Case) -> None:
    if os.getuid():
        pytest.skip("only root gives a directory away")
    os.chown(case.drill.directory(BAD), NOBODY, NOBODY)


def _programs(case: Case, python: str | None = None) -> Path:
    """Return a directory with little more than a Python that is a script."""
    folder = case.path / "programs"
    folder.mkdir()
    for name in ("cat", "mkdir", "mv", "rm", "sh", "test"):
        (folder / name).symlink_to(f"/bin/{name}" if name != "test" else "/usr/bin/test")
    if python:
        (folder / "python3").write_text(python)
        (folder / "python3").chmod(0o755)
    return folder


def no_python(case: Case) -> None:
    case.replace(_programs(case))


def _answer(path: str, version: str) -> str:
    """Return what an interpreter says of itself, for a shell to print."""
    return json.dumps({"path": path, "version": version, "venv": True}).replace('"', '\\"')


def old_python(case: Case) -> None:
    answer = _answer("/usr/bin/python3", "3.9.2")
    script = f'case "$*" in *json*) echo "{answer}";; *) exec {sys.executable} "$@";; esac'
    case.replace(_programs(case, f"#!/bin/sh\n{script}\n"))


def very_old_python(case: Case) -> None:
    said = "SyntaxError: future feature annotations is not defined"
    case.replace(_programs(case, f"#!/bin/sh\necho '{said}' >&2\nexit 1\n"))


def python_2(case: Case) -> None:
    said = "Unknown option: -I\nusage: python3 [option] ...\nTry `python -h' for more information."
    case.replace(_programs(case, f"#!/bin/sh\ncat >&2 <<'E'\n{said}\nE\nexit 2\n"))


def without_venv(case: Case) -> None:
    # As on Debian without python3-venv: the module that brings pip cannot be imported.
    hide = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[-1])"
    script = f'case "$*" in *ensurepip*) exec {sys.executable} -c "{hide}" "$3";; esac'
    case.replace(_programs(case, f'#!/bin/sh\n{script}\nexec {sys.executable} "$@"\n'))


def _quick_venv(case: Case) -> None:
    """Replace the bad host by one whose new environments have pip at once."""
    site = case.path / "site"
    for part in [Path(*pip.__path__), *Path(*pip.__path__).parent.glob("pip-*.dist-info")]:
        shutil.copytree(part, site / part.name)
    python = case.path / "python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *ensurepip*) ;; *) exec "${0%/*}/python3" "$@";; esac\n'
    )
    python.chmod(0o755)
    make = (
        f'{sys.executable} "$@" && cp -rp {site}/. "$5"/lib/python*/site-packages/ '
        f'&& mv -f "$5/bin/python" "$5/bin/python3" && cp {python} "$5/bin/python"'
    )
    answer = _answer("$0", platform.python_version())
    cases = f'*json*) echo "{answer}";; *--without-pip*) {make};; *) exec {sys.executable} "$@";;'
    programs = _programs(case, f'#!/bin/sh\ncase "$*" in {cases} esac\n')
    (programs / "cp").symlink_to("/bin/cp")
    case.replace(programs)


def no_index(case: Case) -> None:
    _quick_venv(case)
    server = case.stack.enter_context(socket.socket())
    server.bind(("127.0.0.1", 0))  # and does not listen
    url = f"http://user:secret@127.0.0.1:{server.getsockname()[1]}/simple"
    case.drill.settings["provision"]["index_url"] = url


def wrong_wheels(case: Case) -> None:
    _quick_venv(case)
    wheels = case.path / "wheels"
    wheels.mkdir()
    (wheels / "other-1.0-py3-none-any.whl").write_bytes(b"")
    case.drill.settings["provision"]["wheels"] = str(wheels)


def without_sftp(case: Case) -> None:
    server = case.replace()
    case.drill.provision(BAD)
    config = server.log.with_name(f"{server.name}_sshd_config")
    config.write_text(config.read_text().replace("Subsystem sftp internal-sftp\n", ""))
    server.stop()
    renewed = server._replace(process=sshd._serve(server.process.args))
    sshd._await_port(renewed, time.monotonic() + 20.0)
    case.stack.callback(renewed.stop)


def talkative_shell(case: Case) -> None:
    if not pwd.getpwuid(os.getuid()).pw_shell.endswith("/bash"):
        pytest.skip("the shell here is not bash")
    (case.replace().home / ".bashrc").write_text("echo Welcome to node2\n")


def not_provisioned(case: Case) -> None:
    case.replace()


def unreachable(case: Case) -> None:
    """Have the others look for the bad host where nobody is."""
    case.drill.change(BAD, data_address="127.255.255.255")  # the kernel refuses a broadcast at once


DIRECTORY = r"set \[cluster\] directory to"
PYTHON = r"Python 3\.10 to 3\.13"
FAULTS = [
    Fault(
        wrong_key, "refuses the key that was tried", r"authorize one: ssh-copy-id -i \S+ -p \d+ "
    ),
    Fault(
        unknown_host_key,
        r"the host key is unknown: its ED25519 key SHA256:\S+ is not in \S+/known_hosts",
        "dnnbench hosts trust",
        ("provision", "launch"),
    ),
    Fault(
        changed_host_key,
        r"the host key has changed: .* is not the ED25519 key of \S+/known_hosts:\d",
        rf"ssh-keygen -f \S+ -R '\[127\.0\.0\.{FIRST + 1}\]:\d+', then dnnbench hosts trust",
        ("check", "run"),
    ),
    Fault(
        down,
        rf"127\.0\.0\.{FIRST + 1} port \d+ refuses connections",
        "is sshd running there",
        ("provision", "run"),
    ),
    Fault(
        dropping_packets,
        r"does not answer within 0\.5 s",
        "is the host up, and does a firewall",
        ("provision", "run"),
    ),
    Fault(
        silent,
        "accepts connections but sends nothing for 3 s",
        "is it an SSH server",
        ("run",),
    ),
    Fault(
        unknown_name,
        r"the name nowhere\.invalid cannot be resolved",
        "check its address",
        ("provision", "launch"),
    ),
    Fault(
        full_disk,
        r"cannot write to \S+: No space left on device",
        DIRECTORY,
        ("provision", "launch"),
    ),
    Fault(small_disk, r"no disk space: \S+ has 0\.0 GB free", DIRECTORY, ("provision", "check")),
    Fault(
        read_only_directory,
        r"cannot write to \S+: (Read-only file system|Permission denied)",
        DIRECTORY,
        ("provision", "launch"),
    ),
    Fault(file_for_directory, r"cannot write to \S+: Not a directory", DIRECTORY, ("check",)),
    Fault(
        shared_directory,
        r"/dnnbench\d+ may be written to by other users \(mode 0775\)",
        r"chmod go-w /\S+ there$",
        ("provision", "run"),
    ),
    Fault(
        foreign_directory,
        r"/dnnbench\d+ belongs to another user, nobody \(uid 65534\)",
        r"set \[cluster\] directory to one of your own, such as ~/\.dnnbench$",
        ("check", "launch"),
    ),
    Fault(
        no_python, "expected python3, found none", rf"install {PYTHON} there", ("provision", "run")
    ),
    Fault(
        old_python,
        rf"expected {PYTHON}, found /usr/bin/python3 \(3\.9\.2\)",
        r"install one there, or name one in \[provision\] python",
        ("provision", "check"),
    ),
    Fault(
        very_old_python,
        r"python3 there is older than 3\.7",
        rf"install {PYTHON} there",
        ("provision",),
    ),
    Fault(python_2, r"python3 there is older than 3\.7", rf"install {PYTHON} there", ("check",)),
    Fault(
        without_venv,
        "cannot make virtual environments: its venv or ensurepip is missing",
        r"apt install python3\.\d+-venv",
        ("provision", "check"),
    ),
    Fault(
        no_index,
        "the package index cannot be used: Connection refused",
        r"set \[provision\] index_url .* or push a directory of wheels",
        ("provision",),
    ),
    Fault(
        wrong_wheels,
        r"no package of tensorflow(-cpu)?==\S+ fits the Python and processor there",
        "add it to the index or the wheels",
        ("provision",),
    ),
    Fault(without_sftp, "SFTP cannot be used", "Subsystem sftp internal-sftp", ("provision",)),
    Fault(
        talkative_shell,
        "its shell prints 'Welcome to node2' before every command",
        "start-up files of the user's shell there, such as .bashrc, must print nothing",
        ("check", "run"),
    ),
    Fault(
        not_provisioned,
        "is not provisioned: TensorFlow's environment and this version of dnnbench missing",
        "run `dnnbench provision",
        ("launch", "run"),
    ),
]


# --- what is said, and what becomes of the others -------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.spoil.__name__)
def test_a_bad_host_is_told_in_one_line_with_cause_and_cure_and_the_others_are_unharmed(
    case: Case, fault: Fault
) -> None:
    fault.spoil(case)
    for command in fault.commands:
        CHECKS[command](case.drill, fault)
        assert case.drill.standing() == []
        assert case.drill.half_written(BAD) == []


def assert_told(result: Result, fault: Fault, prefix: str) -> None:
    """See that one line tells of the bad host, and none of a good one."""
    assert result.code == HostError.exit_code, result
    told = [line for line in result.err if line.startswith(prefix)]
    assert len(told) == 1, result.err
    assert re.match(rf"{prefix}{BAD}: .*{fault.cause}.*; .*{fault.cure}", told[0]), told[0]
    everything = "\n".join([result.out, *result.err])
    assert "Traceback" not in everything
    assert "secret" not in everything
    assert not [line for line in result.err if re.match(r".*error: node[13]", line)]


def provision(drill: Drill, fault: Fault) -> None:
    result = drill.call("provision", "--json")
    assert_told(result, fault, "dnnbench: error: ")
    document = result.document
    assert list(document["missing"]) == [BAD]
    for name in GOOD:
        steps = {step["name"]: step["state"] for step in document["hosts"][name]}
        assert steps == dict.fromkeys(["facts", "environment", "package", "data"], "ok")


def check(drill: Drill, fault: Fault) -> None:
    result = drill.call("provision", "--check", "--json")
    assert_told(result, fault, "dnnbench: error: ")
    document = result.document
    assert list(document["hosts"]) == GOOD
    tried = {(pair["source"], pair["target"]) for pair in document["connections"]}
    assert tried == {("node1", "node3"), ("node3", "node1")}


def launch(drill: Drill, fault: Fault) -> None:
    result = drill.call("launch")
    assert_told(result, fault, "dnnbench: error: ")
    assert "importing TensorFlow" not in result.err  # which takes time, and is in vain


def run(drill: Drill, fault: Fault) -> None:
    result = drill.call("run")
    assert_told(result, fault, "note: ")
    assert re.match(rf".* 1 of 2 trials not run: {BAD}: .*{fault.cause}", result.err[-1])
    assert drill.outcomes() == {"n03-downpour-r01": "not run", "n02-downpour-r01": "ok"}


CHECKS = {"provision": provision, "check": check, "launch": launch, "run": run}


def test_a_host_that_the_others_do_not_reach_is_named_with_the_ports_to_open(case: Case) -> None:
    unreachable(case)
    checked = case.drill.call("provision", "--check")
    assert checked.code == HostError.exit_code
    cure = f"open TCP ports {PORTS} between the hosts, or set data_address of node2"
    problem = f"cannot reach node2 at 127.255.255.255: .*; {cure}"
    assert re.match(rf"dnnbench: error: node1: {problem}$", checked.err[-1])
    for command, prefix in (("launch", "dnnbench: error: "), ("run", "note: ")):
        result = case.drill.call(command)
        told = [line for line in result.err if line.startswith(prefix)]
        assert [re.match(rf"{prefix}node2: node1 {problem}$", line) for line in told] != [None]
    assert case.drill.outcomes() == {"n03-downpour-r01": "not run", "n02-downpour-r01": "ok"}


def test_a_range_of_ports_that_is_taken_is_named_for_each_host(case: Case) -> None:
    first = _block_ports(case.stack, 4)
    taken = f"{first}-{first + 3}"
    case.drill.settings["cluster"]["ports"] = taken
    told = [
        f"{name}: no port in {taken} is free; set another range in [cluster] ports"
        for name in case.drill.hosts
    ]
    for command in ("provision", "launch"):
        result = case.drill.call(command)
        assert result.code == HostError.exit_code
        assert result.err[-3:] == [f"dnnbench: error: {line}" for line in told]


def _block_ports(stack: contextlib.ExitStack, count: int) -> int:
    """Listen on consecutive ports; return the first."""
    for first in range(24500, 25500, count):
        with contextlib.ExitStack() as taken:
            try:
                for port in range(first, first + count):
                    server = taken.enter_context(socket.socket())
                    server.bind(("127.0.0.1", port))
                    server.listen()
            except OSError:
                continue
            stack.push(taken.pop_all())
            return first
    pytest.fail("no free ports")


def test_every_bad_host_has_its_line_also_where_nobody_wants_progress(case: Case) -> None:
    wrong_key(case)
    case.drill.change("node3", address="nowhere.invalid")
    case.drill.change("node1", address="nowhere.invalid")
    result = case.drill.call("provision", "--quiet")
    assert result.code == HostError.exit_code
    heads = [
        "node1: the name nowhere",
        f"node2: {case.drill.hosts[BAD].user}@127.0.0.{FIRST + 1} refuses",
        "node3: the name nowhere",
    ]
    assert len(result.err) == len(heads)
    for line, head in zip(result.err, heads, strict=True):
        assert line.startswith(f"dnnbench: error: {head}")


def test_two_names_of_one_host_are_named_both(case: Case) -> None:
    drill = case.drill
    del drill.hosts["node3"]
    drill.hosts["alias"] = msgspec.structs.replace(drill.hosts["node1"], name="alias")
    told = "alias: is the same host as node1; list it once; set its slots to run more than one task"
    for command in (["provision"], ["provision", "--check"], ["launch"]):
        result = drill.call(*command)
        assert result.code == HostError.exit_code
        assert result.err[-1] == f"dnnbench: error: {told}"
    assert drill.standing() == []
    result = drill.call("run")
    assert f"note: {told}" in result.err
    assert drill.outcomes() == {"n03-downpour-r01": "not run", "n02-downpour-r01": "ok"}


def test_a_cure_has_the_options_that_it_needs_to_find_the_hosts(case: Case) -> None:
    hosts = ("--hosts", "node1,node3")
    options = f"--hosts node1,node3 --config {case.path / 'dnnbench.toml'}"
    launched = case.drill.call("launch", "--nodes", "2", *hosts)
    assert launched.err[-1].startswith(f"runs until `dnnbench stop {options}`, or ")
    ran = case.drill.call("run", "--nodes", "2", *hosts)
    assert ran.code == 0, ran.err
    (using,) = [line for line in ran.err if line.startswith("note: using cluster ")]
    assert using.endswith(f", which keeps running until `dnnbench stop {options}`")
    words = shlex.split(using.rpartition("`dnnbench ")[2].removesuffix("`"))
    assert main(words) == 0  # as the user would
    assert case.drill.standing() == []


def test_as_many_sessions_are_enough_as_a_host_is_asked_for(
    start_hosts: StartHosts, tmp_path: Path, packages: Path
) -> None:
    first, _ = next(_addresses), next(_addresses)
    farm = start_hosts(2, first=first, options=[f"MaxSessions {SESSIONS}"])
    drill = Drill(tmp_path, farm, "few")
    drill.settings["sweep"]["nodes"] = [2]
    for name in drill.hosts:
        drill.provision(name, packages)
    for command in ("provision", "run", "launch", "status", "run", "stop"):
        result = drill.call(command)
        assert result.code == 0, result.err


def test_a_directory_may_have_any_name(case: Case) -> None:
    drill = case.drill
    packages = drill.directory("node1") / "packages"
    drill.name = 'it\'s  a "$HOME"; exit/ü'
    drill.settings["cluster"]["directory"] = f"~/{drill.name}"
    for name in drill.hosts:
        drill.provision(name, packages)
    for command in ("provision", "launch", "status", "stop"):
        result = drill.call(command)
        assert result.code == 0, result.err
    assert result.out.count("none is left, every port is free") == 3
    assert drill.standing() == []
