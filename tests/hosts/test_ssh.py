from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from benchmarks.testbed.processes import children_of
from benchmarks.testbed.sshd import listener, make_key
from dnnbench.errors import ConfigError, HostError
from dnnbench.hosts.connectors import commands
from dnnbench.hosts.parallel import each
from dnnbench.hosts.ssh import connection as connection_module
from dnnbench.hosts.ssh import known_hosts
from dnnbench.hosts.ssh.connection import Connection, connect
from dnnbench.hosts.ssh.settings import Target, resolve
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.schema import SshConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import StartHosts

    from benchmarks.testbed.sshd import Hosts


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave the keys, the agent and the files of whoever runs the tests alone; pause briefly."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(connection_module, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def host(start_hosts: StartHosts) -> Hosts:
    return start_hosts(1)


@pytest.fixture
def connection(host: Hosts) -> Iterator[Connection]:
    with closing(open_connection(host)) as opened:
        yield opened


def open_connection(
    hosts: Hosts, *, settings: SshConfig | None = None, **changes: Any
) -> Connection:
    """Connect to the first host, with changes to how it is listed."""
    config = msgspec.structs.replace(hosts.configs[0], **changes)
    settings = settings or hosts.settings
    return connect(resolve([config], settings)[config.name], settings)


def settings_of(tmp_path: Path, known_hosts: str = "", ssh_config: str = "") -> SshConfig:
    (tmp_path / "known").write_text(known_hosts)
    (tmp_path / "config").write_text(ssh_config)
    return SshConfig(config=str(tmp_path / "config"), known_hosts=str(tmp_path / "known"))


# --- settings ------------------------------------------------------------------------------------


def resolved(tmp_path: Path, ssh_config: str, **fields: object) -> Target:
    host = HostConfig(**{"name": "a", **fields})  # type: ignore[arg-type]
    return resolve([host], settings_of(tmp_path, ssh_config=ssh_config))["a"]


def test_the_settings_of_ssh_complete_what_the_inventory_leaves_open(tmp_path: Path) -> None:
    text = "Host a\n HostName %h.example.org\n Port 2222\n User bench\n IdentityFile ~/.ssh/lab\n"
    target = resolved(tmp_path, text)
    assert (target.address, target.port, target.user) == ("a.example.org", 2222, "bench")
    assert target.keys == (str(tmp_path / "user/.ssh/lab"),)
    assert target.known_as == "[a.example.org]:2222"
    target = resolved(tmp_path, text, port=23, user="me", key="~/mine")
    assert (target.address, target.port, target.user) == ("a.example.org", 23, "me")
    assert target.keys == (str(tmp_path / "user/mine"), str(tmp_path / "user/.ssh/lab"))
    assert resolved(tmp_path, text, address="192.0.2.1").known_as == "192.0.2.1"


def test_what_is_given_shows_in_the_proxy_command(tmp_path: Path) -> None:
    text = "Host *\n Port 1\n ProxyCommand connect %h %p %r\n"
    target = resolved(tmp_path, text, port=2, user="me")
    assert target.proxy_command == "connect a 2 me"


def test_jump_hosts_form_a_chain_and_are_looked_up_themselves(tmp_path: Path) -> None:
    text = (
        "Host a\n ProxyJump first,you@second:24\nHost second\n HostName 192.0.2.2\n"
        "Host first\n ProxyJump outer\n"
    )
    target = resolved(tmp_path, text)
    assert target.jump
    assert (target.jump.address, target.jump.port, target.jump.user) == ("192.0.2.2", 24, "you")
    assert target.jump.jump
    assert target.jump.jump.name == "first"
    assert target.jump.jump.jump
    assert (target.jump.jump.jump.name, target.jump.jump.jump.jump) == ("outer", None)


def test_a_jump_host_for_all_hosts_does_not_jump_through_itself(tmp_path: Path) -> None:
    target = resolved(tmp_path, "Host *\n ProxyJump gate\n")
    assert target.jump
    assert (target.jump.name, target.jump.jump) == ("gate", None)


def test_included_files_count_where_they_are_included(tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_text("Host a\n Port 7\n")
    target = resolved(tmp_path, f"Host a\n Include {tmp_path}/*.conf\n User me\n")
    assert (target.port, target.user) == (7, "me")


# --- host keys -----------------------------------------------------------------------------------


def test_a_fingerprint_is_what_openssh_prints(tmp_path: Path) -> None:
    path = make_key(tmp_path / "key").with_suffix(".pub")
    shown = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True)
    key = known_hosts.HostKey(*path.read_text().split()[:2])
    assert key.fingerprint == shown.stdout.split()[1]
    assert shown.stdout.strip().endswith(f"({key.name})")


def target_known_by(path: Path, address: str = "192.0.2.1", port: int = 22) -> Target:
    return Target("a", address, port, "me", (), False, (str(path),))


KEY = known_hosts.HostKey("ssh-ed25519", "QUFBQQ==")


@pytest.mark.parametrize(
    "names", ["192.0.2.1", "other,192.0.2.1", "192.0.2.*", "192.*,!192.0.2.2", "HASHED"]
)
def test_a_known_host_is_found_by_name_pattern_and_hash(tmp_path: Path, names: str) -> None:
    path = tmp_path / "known"
    path.write_text(
        f"# a comment\n\n{names.replace('HASHED', '192.0.2.1')} {KEY.kind} {KEY.base64} me\n"
    )
    if names == "HASHED":
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
        assert "192.0.2.1" not in path.read_text()
    known_hosts.verify(target_known_by(path), KEY)
    with pytest.raises(known_hosts.UnknownKeyError):
        known_hosts.verify(target_known_by(path, port=2222), KEY)


def test_a_key_revoked_in_any_file_is_refused(tmp_path: Path) -> None:
    line = f"192.0.2.1 {KEY.kind} {KEY.base64}\n"
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text(line)
    other.write_text(f"@revoked * {KEY.kind} {KEY.base64}\n")
    target = msgspec.structs.replace(target_known_by(one), known_hosts=(str(one), str(other)))
    with pytest.raises(HostError, match=f"is revoked at {other}:1"):
        known_hosts.verify(target, KEY)


def test_a_revoked_key_is_refused_and_an_authority_is_no_host_key(tmp_path: Path) -> None:
    path = tmp_path / "known"
    line = f"192.0.2.1 {KEY.kind} {KEY.base64}\n"
    path.write_text(f"{line}@revoked {line}")
    with pytest.raises(HostError, match=f"is revoked at {path}:2"):
        known_hosts.verify(target_known_by(path), KEY)
    path.write_text(f"@cert-authority {line}")
    with pytest.raises(known_hosts.UnknownKeyError) as caught:
        known_hosts.verify(target_known_by(path), KEY)
    assert (
        f"{path}:1 trusts a certificate authority, but dnnbench cannot verify host certificates"
        in (str(caught.value))
    )
    assert str(caught.value).endswith("trust it with: dnnbench hosts trust")
    path.write_text(f"@cert-authority {line}{line}")
    known_hosts.verify(target_known_by(path), KEY)


def test_keys_are_appended_to_a_file_that_only_the_user_can_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    known_hosts.add(path, [("192.0.2.1", KEY)])
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.write_text("first line, without an end")
    known_hosts.add(path, [("192.0.2.1", KEY), ("[192.0.2.1]:24", KEY)])
    assert path.read_text().splitlines()[0] == "first line, without an end"
    assert len(path.read_text().splitlines()) == 3
    known_hosts.verify(target_known_by(path, port=24), KEY)
    with pytest.raises(ConfigError, match="not a regular file"):
        known_hosts.add(Path("/dev/null"), [("192.0.2.1", KEY)])


def test_an_unknown_host_key_stops_with_its_fingerprint_and_the_cure(
    host: Hosts, tmp_path: Path
) -> None:
    with pytest.raises(HostError) as caught:
        open_connection(host, settings=settings_of(tmp_path))
    line = str(caught.value)
    path = host.sshds[0].host_key.with_suffix(".pub")
    fingerprint = known_hosts.HostKey(*path.read_text().split()[:2]).fingerprint
    shown = f"its ED25519 key {fingerprint} is not in {tmp_path}/known"
    assert line.startswith(f"node1: the host key is unknown: {shown}; ")
    assert line.endswith("dnnbench hosts trust")


def test_a_changed_host_key_stops_and_says_where_the_old_one_stands(
    host: Hosts, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    sshd = host.sshds[0]
    text = f"# old\n[{sshd.address}]:{sshd.port} {other}"
    with pytest.raises(HostError, match="the host key has changed") as caught:
        open_connection(host, settings=settings_of(tmp_path, text))
    assert f"{tmp_path}/known:2" in str(caught.value)
    assert caught.value.kind == "host-key"
    remedy = caught.value.remedy
    assert remedy
    command = remedy.partition(": ")[2].partition(", then")[0]
    subprocess.run(command, shell=True, check=True, capture_output=True)  # as the user would
    with pytest.raises(known_hosts.UnknownKeyError):
        known_hosts.verify(
            resolve(host.configs, settings_of(tmp_path, (tmp_path / "known").read_text()))["node1"],
            KEY,
        )


def test_another_kind_of_key_than_the_known_one_counts_as_changed(
    host: Hosts, tmp_path: Path
) -> None:
    sshd = host.sshds[0]
    text = f"[{sshd.address}]:{sshd.port} ecdsa-sha2-nistp256 QUFBQQ==\n"
    with pytest.raises(HostError, match=r"has changed: its ED25519 .* not the ECDSA key"):
        open_connection(host, settings=settings_of(tmp_path, text))


# --- login ---------------------------------------------------------------------------------------


def test_a_key_that_the_host_does_not_know_is_refused_at_once(host: Hosts, tmp_path: Path) -> None:
    key = make_key(tmp_path / "stranger")
    bare = settings_of(tmp_path, host.known_hosts.read_text())
    with pytest.raises(HostError) as caught:
        open_connection(host, settings=bare, key=str(key))
    sshd = host.sshds[0]
    assert str(caught.value) == (
        f"node1: {host.user}@{sshd.address} refuses the key that was tried; "
        f"authorize one: ssh-copy-id -i {key} -p {sshd.port} {host.user}@{sshd.address}"
    )
    assert caught.value.kind == "ssh-auth"
    assert sshd.log.read_text().count("Failed publickey") <= 1
    assert len(re.findall(r"Connection from", sshd.log.read_text())) == 2  # one found the port open


def test_a_missing_key_and_no_key_are_named(host: Hosts, tmp_path: Path) -> None:
    bare = settings_of(tmp_path, host.known_hosts.read_text())
    with pytest.raises(HostError, match=r"the key /nowhere/key does not exist; check key"):
        open_connection(host, settings=bare, key="/nowhere/key")
    with pytest.raises(
        HostError, match=r"no key with which to log in as .*; ssh-keygen, then ssh-copy-id"
    ):
        open_connection(host, settings=bare, key=None)


def test_a_key_in_the_usual_place_is_found(host: Hosts, tmp_path: Path) -> None:
    bare = settings_of(tmp_path, host.known_hosts.read_text())
    (tmp_path / "user/.ssh").mkdir(parents=True)
    shutil.copy(host.key, tmp_path / "user/.ssh/id_ed25519")
    open_connection(host, settings=bare, key=None).close()


@contextmanager
def agent_with(key: Path, directory: Path) -> Iterator[str]:
    address = str(directory / "agent")
    command = ["ssh-agent", "-D", "-a", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout
            agent.stdout.readline()  # it listens
            environment = {**os.environ, "SSH_AUTH_SOCK": address}
            subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
            yield address
        finally:
            agent.terminate()


def test_an_encrypted_key_works_by_the_agent_alone(
    host: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    shutil.copy(host.key, locked)
    shutil.copy(host.key.with_suffix(".pub"), tmp_path / "locked.pub")
    change = ["ssh-keygen", "-q", "-p", "-f", str(locked), "-P", "", "-N", "secret words"]
    subprocess.run(change, check=True, capture_output=True)
    bare = settings_of(tmp_path, host.known_hosts.read_text())
    with pytest.raises(HostError, match=f"encrypted, and no SSH agent has it; ssh-add {locked}"):
        open_connection(host, settings=bare, key=str(locked))
    with agent_with(host.key, tmp_path) as address:
        monkeypatch.setenv("SSH_AUTH_SOCK", address)
        open_connection(host, settings=bare, key=str(locked)).close()


def test_the_agent_that_the_configuration_names_is_asked(
    host: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    address = tmp_path / "agent"
    known = host.known_hosts.read_text()
    settings = settings_of(tmp_path, known, f"Host *\n IdentityAgent {address}\n")
    with pytest.raises(HostError, match=f"no SSH agent answers at {address}, and no other key"):
        open_connection(host, settings=settings, key=None)
    with agent_with(host.key, tmp_path):
        open_connection(host, settings=settings, key=None).close()
        bare = settings_of(tmp_path, known, "Host *\n IdentityAgent none\n")
        with pytest.raises(HostError, match="there is no key with which to log in as"):
            open_connection(host, settings=bare, key=None)


def test_an_agent_that_says_nothing_or_nonsense_is_none(host: Hosts, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(
        settings_of(tmp_path, host.known_hosts.read_text(), f"IdentityAgent {tmp_path}/mute\n"),
        login_timeout_s=2.0,
    )
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(f"{tmp_path}/mute")
        mute.listen()
        with pytest.raises(HostError, match=f"no SSH agent answers at {tmp_path}/mute"):
            open_connection(host, settings=settings, key=None)
        open_connection(host, settings=settings).close()  # with the key that is listed


def certified(start_hosts: StartHosts, tmp_path: Path) -> tuple[Hosts, Path, Path]:
    """Start a host that takes certificates alone; return it, a key and its certificate."""
    authority = make_key(tmp_path / "authority")
    options = [f"TrustedUserCAKeys {authority}.pub", "AuthorizedKeysFile none"]
    key = make_key(tmp_path / "certified")
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "test", "-n", getpass.getuser()]
    subprocess.run([*sign, f"{key}.pub"], check=True)
    return start_hosts(1, options=options), key, Path(f"{key}-cert.pub")


def test_a_certificate_beside_its_key_is_shown(start_hosts: StartHosts, tmp_path: Path) -> None:
    hosts, key, certificate = certified(start_hosts, tmp_path)
    settings = settings_of(tmp_path, hosts.known_hosts.read_text())
    open_connection(hosts, settings=settings, key=str(key)).close()
    certificate.unlink()
    with pytest.raises(HostError, match="refuses the key that was tried"):
        open_connection(hosts, settings=settings, key=str(key))


def test_a_certificate_of_any_name_is_shown_with_its_key(
    start_hosts: StartHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, key, certificate = certified(start_hosts, tmp_path)
    known = hosts.known_hosts.read_text()
    elsewhere = certificate.rename(tmp_path / "elsewhere")
    text = f"Host *\n IdentityFile {hosts.key}\n IdentityFile {key}\n"
    named = f"{text} CertificateFile {elsewhere}\n"
    open_connection(hosts, settings=settings_of(tmp_path, known, named), key=None).close()
    with pytest.raises(HostError, match="refuses all 2 keys that were tried"):
        open_connection(hosts, settings=settings_of(tmp_path, known, text), key=None)
    with agent_with(key, tmp_path) as address:
        monkeypatch.setenv("SSH_AUTH_SOCK", address)
        by_agent = f"CertificateFile {elsewhere}\n"
        open_connection(hosts, settings=settings_of(tmp_path, known, by_agent), key=None).close()


def test_a_certificate_in_the_agent_is_shown(
    start_hosts: StartHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, key, _ = certified(start_hosts, tmp_path)
    with agent_with(key, tmp_path) as address:
        monkeypatch.setenv("SSH_AUTH_SOCK", address)  # ssh-add has added the certificate, too
        settings = settings_of(tmp_path, hosts.known_hosts.read_text())
        open_connection(hosts, settings=settings, key=None).close()


def test_algorithms_that_the_configuration_leaves_out_are_not_used(
    host: Hosts, tmp_path: Path
) -> None:
    def opened(text: str) -> None:
        known = host.known_hosts.read_text()
        open_connection(host, settings=settings_of(tmp_path, known, text)).close()

    opened("Ciphers aes256-ctr\nMACs hmac-sha2-512\nKexAlgorithms curve25519-sha256\n")
    log = host.sshds[0].log.read_text()
    with pytest.raises(HostError, match="no common algorithm"):
        opened("HostKeyAlgorithms rsa-sha2-512\n")
    with pytest.raises(HostError, match="there is no key with which to log in as"):
        opened("PubkeyAcceptedAlgorithms rsa-sha2-512\n")
    assert "Accepted publickey" in log


def test_a_host_key_that_is_smaller_than_the_configuration_asks_for_is_refused(
    start_hosts: StartHosts, tmp_path: Path
) -> None:
    key = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key], check=True)
    hosts = start_hosts(1, options=[f"HostKey {key}"])
    kind, public = key.with_suffix(".pub").read_text().split()[:2]
    known = f"{hosts.sshds[0].known_hosts_line.split()[0]} {kind} {public}\n"
    settings = settings_of(tmp_path, known, "RequiredRSASize 2048\n")
    open_connection(hosts, settings=settings).close()
    settings = settings_of(tmp_path, known, "RequiredRSASize 3072\n")
    with pytest.raises(HostError, match="its RSA key has 2048 bits, RequiredRSASize requires 3072"):
        open_connection(hosts, settings=settings)


def test_a_host_that_only_takes_passwords_is_named(start_hosts: StartHosts) -> None:
    options = ["PubkeyAuthentication no", "KbdInteractiveAuthentication yes"]
    with pytest.raises(HostError, match=r"a key is not enough to log in as .*interactive"):
        open_connection(start_hosts(1, options=options))


# --- the way there -------------------------------------------------------------------------------


def test_a_closed_port_and_an_unknown_name_are_named(host: Hosts) -> None:
    sshd = host.sshds[0]
    sshd.stop()
    with pytest.raises(HostError) as caught:
        open_connection(host)
    expected = (
        rf"node1: {sshd.address} port {sshd.port} refuses connections \(4 tries\); is sshd running"
    )
    assert re.match(expected, str(caught.value))
    assert caught.value.kind == "ssh-unreachable"
    with pytest.raises(HostError, match=r"the name no\.such\.name\.invalid cannot be resolved"):
        open_connection(host, address="no.such.name.invalid")


def test_a_host_that_accepts_and_says_nothing_is_given_up_after_one_try(host: Hosts) -> None:
    settings = msgspec.structs.replace(host.settings, login_timeout_s=0.2)
    with listener() as (server, place):
        with pytest.raises(HostError, match=r"accepts connections but sends nothing for 0\.2 s"):
            open_connection(host, settings=settings, **place)
        server.accept()[0].close()
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_what_is_no_ssh_server_is_named(host: Hosts) -> None:
    with listener() as (server, place):

        def answer() -> None:
            with server.accept()[0] as client:
                client.sendall(b"220 mail.example.org ESMTP\r\nHello\r\n" * 100)
                done.wait(10.0)

        done = threading.Event()
        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(HostError, match="does not speak SSH; check its port"):
            open_connection(host, **place)
        done.set()


@contextmanager
def drops_before(sshd_address: tuple[str, int], dropped: int) -> Iterator[dict[str, Any]]:
    """Drop some connections at once, as an sshd in distress does, then let one through."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        for _ in range(dropped):
            server.accept()[0].close()
        client = stack.enter_context(server.accept()[0])
        behind = stack.enter_context(socket.create_connection(sshd_address))
        threading.Thread(target=pump, args=(behind, client), daemon=True).start()
        pump(client, behind)

    with ExitStack() as stack, listener() as (server, place):
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield place
        thread.join(5.0)
        assert not thread.is_alive()


def test_dropped_connections_are_tried_again(host: Hosts, tmp_path: Path) -> None:
    sshd = host.sshds[0]
    settings = settings_of(tmp_path, sshd.known_hosts_line, "Host *\n HostKeyAlias real\n")
    known_hosts.add(
        tmp_path / "known", [("real", known_hosts.HostKey(*sshd.known_hosts_line.split()[1:]))]
    )
    with (
        drops_before((sshd.address, sshd.port), 3) as place,
        closing(open_connection(host, settings=settings, **place)) as connection,
    ):
        assert connection.run("echo through").stdout == b"through\n"


def test_it_goes_through_a_jump_host(start_hosts: StartHosts, tmp_path: Path) -> None:
    hosts = start_hosts(2)
    text = hosts.ssh_config.read_text().replace("Host node2\n", "Host node2\n  ProxyJump node1\n")
    settings = settings_of(tmp_path, hosts.known_hosts.read_text(), text)
    target = resolve([HostConfig(name="node2")], settings)["node2"]
    with closing(connect(target, settings)) as connection:
        done = connection.run("echo $SSH_CONNECTION")
        # whoever connects to node2 does so from the machine of node1, to which node2 is local
        assert f" {target.address} {target.port}".encode() in done.stdout
        assert "Accepted publickey" in hosts.sshds[0].log.read_text()
    hosts.sshds[1].stop()
    with pytest.raises(
        HostError, match=f": {target.address} port .* cannot be reached from node1; "
    ):
        connect(target, settings)
    hosts.sshds[0].stop()
    with pytest.raises(HostError, match=r": jump host node1: .* refuses connections") as caught:
        connect(target, settings)
    assert (caught.value.where, caught.value.kind) == ("node2", "ssh-unreachable")


def test_at_most_eight_logins_at_once_wait_at_one_server(start_hosts: StartHosts) -> None:
    hosts = start_hosts(1, options=["MaxStartups 10"])
    settings = msgspec.structs.replace(hosts.settings, tries=1)
    [target] = resolve(hosts.configs, settings).values()
    names = [f"{number}" for number in range(24)]
    outcomes = each(names, lambda _: connect(target, settings))
    opened = [outcome for outcome in outcomes.values() if isinstance(outcome, Connection)]
    for connection in opened:
        connection.close()
    assert len(opened) == len(names), outcomes


def test_a_proxy_command_leads_to_a_host_and_ends_with_the_connection(
    host: Hosts, tmp_path: Path
) -> None:
    command = f"ssh -F {host.ssh_config} -W %h:%p node1"
    known_hosts = host.known_hosts.read_text()
    settings = settings_of(tmp_path, known_hosts, f"Host *\n ProxyCommand {command}\n")
    before = set(children_of(os.getpid()))
    with closing(open_connection(host, settings=settings)) as connection:
        assert connection.run("echo through").stdout == b"through\n"
        assert set(children_of(os.getpid())) - before
    assert set(children_of(os.getpid())) == before
    settings = settings_of(tmp_path, known_hosts, "Host *\n ProxyCommand false %h\n")
    with pytest.raises(HostError, match=r"ended with 1 \(4 tries\); .*by hand: false 127\.0\.0\.2"):
        open_connection(host, settings=settings)
    assert set(children_of(os.getpid())) == before


def test_what_a_proxy_command_says_is_shown(host: Hosts, tmp_path: Path) -> None:
    known = host.known_hosts.read_text()

    def failure(command: str) -> str:
        text = f"Host *\n ProxyCommand {command}\n"
        settings = msgspec.structs.replace(
            settings_of(tmp_path, known, text), tries=1, login_timeout_s=1.0
        )
        with pytest.raises(HostError) as caught:
            open_connection(host, settings=settings)
        return str(caught.value)

    assert failure("sh -c 'echo no route to gate >&2; exit 7'") == (
        "node1: the ProxyCommand ended with 7: no route to gate; "
        "try it by hand: sh -c 'echo no route to gate >&2; exit 7'"
    )
    assert "the ProxyCommand ended with 127: " in failure("no-such-program %h")
    assert "the ProxyCommand printed 'which password?';" in failure(
        "sh -c 'echo which password? >&2; sleep 9'"
    )
    assert "closes the connection before the login; try its ProxyCommand" in failure("true")
    # far more than a pipe holds, so it has to be read
    chatty = f"sh -c 'head -c 300000 /dev/zero >&2; exec ssh -F {host.ssh_config} -W %h:%p node1'"
    settings = settings_of(tmp_path, known, f"Host *\n ProxyCommand {chatty}\n")
    open_connection(host, settings=settings).close()


def test_the_address_to_connect_from_and_the_family_are_those_of_the_configuration(
    host: Hosts, tmp_path: Path
) -> None:
    def settings(text: str) -> SshConfig:
        return settings_of(tmp_path, host.known_hosts.read_text(), text)

    with closing(open_connection(host, settings=settings("BindAddress 127.0.0.77\n"))) as opened:
        assert opened.run("echo $SSH_CLIENT").stdout.startswith(b"127.0.0.77 ")
    with pytest.raises(HostError, match=r"BindAddress 192\.0\.2\.7 cannot be used: .*; name an"):
        open_connection(host, settings=settings("BindAddress 192.0.2.7\n"))
    open_connection(host, settings=settings("AddressFamily inet\n")).close()
    with pytest.raises(HostError, match=r"the name 127\.0\.0\.2 cannot be resolved"):
        open_connection(host, settings=settings("AddressFamily inet6\n"))


# --- commands ------------------------------------------------------------------------------------


def test_a_command_gets_its_input_and_gives_both_outputs_and_its_code(
    connection: Connection,
) -> None:
    assert connection.run("cat; echo no >&2; exit 3", b"yes") == (3, b"yes", b"no\n")
    assert connection.run("kill -9 $$").code == -1
    assert connection.host == "node1"


def test_large_output_on_both_streams_and_large_input_do_not_block_each_other(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 5_000_000
    monkeypatch.setattr(commands, "ANSWER_BYTES", 2 * size)
    command = (
        f"head -c {size} /dev/zero >&2; head -c {size} /dev/zero; cat; head -c {size} /dev/zero >&2"
    )
    done = connection.run(command, b"x" * size, timeout_s=30)
    assert (done.code, len(done.stdout)) == (0, 2 * size)
    assert 0 < len(done.stderr) < size  # the end of it


def test_input_that_nobody_reads_is_no_failure(connection: Connection) -> None:
    assert connection.run("exec <&-; echo done", b"x" * 5_000_000).stdout == b"done\n"


def test_a_command_that_does_not_end_is_named(connection: Connection) -> None:
    with pytest.raises(HostError, match=r": `exec sleep 60` did not end within 0\.1 s; is the"):
        connection.run("exec sleep 60", timeout_s=0.1)
    assert connection.run("echo next").stdout == b"next\n"


def test_a_lost_connection_is_named_by_whoever_waits(host: Hosts) -> None:
    connection = open_connection(host)
    failures: list[HostError] = []

    def wait() -> None:
        try:
            connection.run("cat; sleep 60")
        except HostError as error:
            failures.append(error)

    stream = connection.open("echo here; cat")
    assert stream.read_line(5.0) == b"here\n"
    waiting = threading.Thread(target=wait)
    waiting.start()
    host.sshds[0].drop()
    waiting.join(10.0)
    assert "the connection was lost while" in str(failures[0])
    assert stream.read_line(5.0) == b""
    with pytest.raises(HostError, match=r"`echo here; cat` has ended"):
        stream.write(b"more\n")
    with pytest.raises(HostError, match="the connection was lost while"):
        connection.run("true")
    connection.close()
    connection.close()


def test_a_conversation_goes_line_by_line(connection: Connection) -> None:
    stream = connection.open(
        "echo hi >&2; while read line; do echo got $line; done; echo bye >&2; exit 4"
    )
    stream.write(b"one\ntwo\n")
    assert [stream.read_line(5.0), stream.read_line(5.0)] == [b"got one\n", b"got two\n"]
    with pytest.raises(HostError, match=r"printed nothing for 0\.05 s"):
        stream.read_line(0.05)
    stream.write(b"three\n")
    stream.end_input()
    assert list(stream) == [b"got three\n"]
    assert stream.exit_code(5.0) == 4
    assert stream.errors == "hi\nbye"
    stream.close()
    stream.close()


def test_a_host_that_allows_too_few_sessions_is_told_how_many_it_takes(
    start_hosts: StartHosts,
) -> None:
    hosts = start_hosts(1, options=["MaxSessions 1"])
    with closing(open_connection(hosts)) as connection, closing(connection.open("cat")):
        cure = "set MaxSessions in its sshd_config to 3 or more"
        with pytest.raises(HostError, match=f"`true` cannot be started: .*; {cure}"):
            connection.run("true")
        with pytest.raises(HostError, match=f"SFTP cannot be used: .*; {cure}"):
            connection.push(b"x", "/nowhere/x")


def test_one_thread_reads_while_another_writes(connection: Connection) -> None:
    stream = connection.open("cat")
    lines = [b"x" * 10_000 + b"\n"] * 300

    def write() -> None:
        for line in lines:
            stream.write(line)

    writer = threading.Thread(target=write)
    writer.start()
    assert [stream.read_line(60.0) for _ in lines] == lines
    writer.join()
    stream.close()


# --- files ---------------------------------------------------------------------------------------


def test_a_file_is_pushed_whole_and_its_directory_made(
    connection: Connection, host: Hosts, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    local.write_bytes(os.urandom(300_000))
    connection.push(local, "~/a b/c/file")
    directory = host.sshds[0].home / "a b/c"
    assert (directory / "file").read_bytes() == local.read_bytes()
    connection.push(b"new", str(directory / "file"))
    assert [path.read_bytes() for path in directory.iterdir()] == [b"new"]


def test_what_stands_in_the_way_of_a_file_is_named(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=f"{tmp_path}/file/x cannot be written: .*; is the disk"):
        connection.push(b"x", f"{tmp_path}/file/x")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own takes the right to mount one")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_named_and_nothing_half_is_left(
    connection: Connection, small_disk: Path
) -> None:
    with pytest.raises(HostError) as caught:
        connection.push(b"x" * 200_000, f"{small_disk}/file")
    assert str(caught.value) == (
        f"node1: no space left for {small_disk}/file: it needs 200,000 bytes, 65,536 are free; "
        "free some space there, or choose another [cluster] directory"
    )
    assert list(small_disk.iterdir()) == []
