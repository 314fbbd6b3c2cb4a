from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

import paramiko
import pytest

from dnnbench.errors import ConfigError
from dnnbench.hosts.ssh import settings as settings_module
from dnnbench.hosts.ssh.config.keywords import IGNORED, OBEYED, REFUSED
from dnnbench.hosts.ssh.config.lines import split
from dnnbench.hosts.ssh.config.match import matches
from dnnbench.hosts.ssh.settings import Target, resolve
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.schema import SshConfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def resolved(directory: Path, text: str, host: str = "a", **fields: object) -> Target:
    """Resolve a host with a configuration."""
    path = directory / "config"
    path.write_text(text)
    config = HostConfig(**{"name": host, **fields})  # type: ignore[arg-type]
    return resolve([config], SshConfig(config=str(path)))[host]


def refused(directory: Path, text: str) -> str:
    """Return the error line for a configuration."""
    with pytest.raises(ConfigError) as caught:
        resolved(directory, text)
    line = str(caught.value)
    assert line.startswith(str(directory / "config"))
    return line.removeprefix(str(directory / "config"))


# --- how the files are read ----------------------------------------------------------------------


def test_a_keyword_is_obeyed_ignored_or_refused_and_nothing_else() -> None:
    assert not OBEYED & IGNORED
    assert not (OBEYED | IGNORED) & set(REFUSED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b  c # d", ["a", "b", "c"]),
        ("a#b", ["a#b"]),
        ('"a b" c"d e"f', ["a b", "cd ef"]),
        ("'a \"b' \"c 'd\"", ['a "b', "c 'd"]),
        (r"a\ b \"c d\e", ["a b", '"c', r"d\e"]),
        (r'"a\ b"', [r"a\ b"]),
        ('""', [""]),
        ("", []),
    ],
)
def test_a_line_is_split_as_openssh_splits_it(text: str, words: list[str]) -> None:
    assert split(text) == words


def test_a_bracket_is_no_pattern() -> None:
    assert matches(["[ab]"], "[ab]")
    assert not matches(["[ab]"], "a")
    assert matches(["a?c*"], "abcd")
    assert not matches(["*", "!a*"], "ab")
    assert not matches(["!a*"], "b")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nonsense\n", ":1: expected a value after the keyword, got `nonsense`"),
        ("= 3\n", ":1: expected a keyword and a value, got `= 3`"),
        ("Host a\n Port many\n", ":2: expected a port, got `Port many`"),
        ("Host a\n Port 0\n", ":2: expected a port, got `Port 0`"),
        ("Port 65536\n", ":1: expected a port, got `Port 65536`"),
        ("Port 22 23\n", ":1: expected one value, got `Port 22 23`"),
        ("ProxyJump a:b:c\n", ":1: expected [user@]host[:port], got `ProxyJump a:b:c`"),
        ('User "me\n', ':1: a quote is not closed, got `User "me`'),
        ("HostName %p\n", ":1: the token %p has no meaning here, got `HostName %p`"),
        ("IdentityFile %q\n", ":1: the token %q has no meaning here, got `IdentityFile %q`"),
        ("IdentityFile %\n", ":1: the token % has no meaning here, got `IdentityFile %`"),
        (
            "IdentityFile ${NO_SUCH}/k\n",
            ":1: the environment variable NO_SUCH is not set, got `IdentityFile ${NO_SUCH}/k`",
        ),
        ("IdentityFile ~nosuch/k\n", ":1: there is no such user, got `IdentityFile ~nosuch/k`"),
        ("IdentitiesOnly maybe\n", ":1: expected yes or no, got `IdentitiesOnly maybe`"),
        ("AddressFamily v6\n", ":1: expected any, inet, inet6, got `AddressFamily v6`"),
        ("CanonicalizeHostname so\n", ":1: expected no, yes or always, got"),
        ("RequiredRSASize big\n", ":1: expected a number of bits, got"),
        ("Match host\n User x\n", ":1: expected a value after the criterion host, got"),
        ("Match all host a\n User x\n", ":1: expected nothing after the criterion all, got"),
        ("Match weather rain\n User x\n", ":1: the criterion weather is not known, got"),
        ("User %u\n", ":1: releases of OpenSSH differ in what tokens in a user's name mean"),
        ("Hostnam b\n", ":1: hostnam is not known; did you mean hostname?"),
        ("Frobnicate b\n", ":1: frobnicate is not known; `IgnoreUnknown frobnicate` skips it"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    assert refused(tmp_path, text).startswith(found)


def test_what_is_said_of_other_hosts_is_not_judged(tmp_path: Path) -> None:
    target = resolved(tmp_path, "Host b\n Frobnicate x\n KnownHostsCommand x\nHost *\n User me\n")
    assert target.user == "me"
    assert resolved(tmp_path, "IgnoreUnknown frob*,x\nFrobnicate x\n").name == "a"


def test_what_cannot_be_a_configuration_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.mkdir()
    settings = SshConfig(config=str(path))
    with pytest.raises(ConfigError, match="config: cannot be read: Is a directory"):
        resolve([HostConfig("a")], settings)
    with pytest.raises(ConfigError, match="/dev/zero: is larger than 1 MiB"):
        resolve([HostConfig("a")], SshConfig(config="/dev/zero"))


def test_a_file_that_others_may_write_to_is_not_obeyed(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_text("User me\n")
    part.chmod(0o666)
    with pytest.raises(ConfigError, match="part: belongs to somebody else, or others may write"):
        resolved(tmp_path, f"Include {part}\n")
    part.chmod(0o644)
    assert resolved(tmp_path, f"Include {part}\n").user == "me"


def test_files_that_include_each_other_come_to_an_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config: is included through more than 16 files"):
        resolved(tmp_path, f"Include {tmp_path}/config\n")


def test_an_included_file_stays_within_the_block_that_includes_it(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("Port 7\nHost *\n User me\n")
    text = f"Host b\n Include {tmp_path}/part\nHost a\n Port 8\n"
    target = resolved(tmp_path, text)
    assert (target.port, target.user) == (8, resolved(tmp_path, "").user)
    assert (resolved(tmp_path, text, "b").port, resolved(tmp_path, text, "b").user) == (7, "me")


def test_the_configuration_of_the_machine_counts_after_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system"
    system.write_text("Host *\n User everybody\n Port 24\n")
    monkeypatch.setattr(settings_module, "SYSTEM_CONFIG", system)
    own = tmp_path / "user/.ssh/config"
    own.parent.mkdir(parents=True)
    own.write_text("Host a\n User me\n")
    target = resolve([HostConfig("a")], SshConfig())["a"]
    assert (target.user, target.port) == ("me", 24)
    # as with `ssh -F`
    assert resolve([HostConfig("a")], SshConfig(config=str(own)))["a"].port == 22
    own.chmod(0o666)
    with pytest.raises(ConfigError, match="others may write to it; chmod go-w"):
        resolve([HostConfig("a")], SshConfig())


# --- Match ---------------------------------------------------------------------------------------


def test_tags_match_as_in_newer_releases_of_openssh(tmp_path: Path) -> None:
    text = "Host b\n Tag lab\nMatch tagged lab\n User zz\nHost *\n User me\n"
    assert resolved(tmp_path, text).user == "me"
    assert resolved(tmp_path, text, "b").user == "zz"


@pytest.mark.parametrize(
    "criterion",
    ["localnetwork 10.0.0.0/8", "sessiontype shell", "version OpenSSH_9*", 'command "x y"'],
)
@pytest.mark.parametrize("negation", ["", "!"])
def test_a_condition_that_cannot_be_evaluated_decides_nothing(
    tmp_path: Path, criterion: str, negation: str
) -> None:
    match = f"Match host a {negation}{criterion}"
    line = refused(tmp_path, f"{match}\n ForwardAgent yes\n User zz\nHost *\n User me\n")
    assert line == (
        f":3: `User zz` depends on `{match}` at {tmp_path}/config:1, which dnnbench cannot "
        "evaluate; remove it for this host, or set [ssh] config to a file for dnnbench alone"
    )
    text = f"{match}\n User zz\n"
    assert resolved(tmp_path, text, "b").user != "zz"  # it rules itself out
    assert resolved(tmp_path, f"User me\n{text}").user == "me"  # what it says comes too late
    assert resolved(tmp_path, f"{match}\n SetEnv A=b\n").name == "a"  # it would change nothing


def test_a_doubt_reaches_into_included_files(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("Host *\n Port 7\n")
    text = f"Match version x\n Include {tmp_path}/part\n"
    with pytest.raises(ConfigError, match=r"part:2: `Port 7` depends on `Match version x`"):
        resolved(tmp_path, text)


def test_a_command_decides_with_its_exit_code(tmp_path: Path) -> None:
    text = 'Match exec "test %n = a -a %p = 22"\n User yes\nMatch exec false\n Port 7\n'
    assert (resolved(tmp_path, text).user, resolved(tmp_path, text).port) == ("yes", 22)
    assert resolved(tmp_path, text, "b").user != "yes"
    marker = tmp_path / "ran"
    resolved(tmp_path, f'Match host b exec "touch {marker}"\n User x\n')
    assert not marker.exists()


# --- what is refused, what is ignored ------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("KnownHostsCommand /bin/keys %H", "add the host's key with: dnnbench hosts trust; or"),
        ("PKCS11Provider /usr/lib/opensc.so", "give the keys to an SSH agent: ssh-add -s; or"),
        ("PubkeyAuthentication no", "dnnbench logs in with keys; allow them for this host; or"),
        ("RevokedHostKeys /etc/ssh/revoked", "mark the keys as @revoked in known_hosts; or"),
        ("BindInterface eth0", "BindAddress is supported; or"),
        ("CheckHostIP yes", "remove it for this host, or"),
        ("ProxyUseFdpass yes", "use a ProxyCommand that passes the data on itself; or"),
        ("CanonicalizePermittedCNAMEs *:*", "write the full name in HostName; or"),
        ('RefuseConnection "use b"', "that is what the configuration says; or"),
    ],
)
def test_what_cannot_be_followed_is_named_where_it_applies(
    tmp_path: Path, setting: str, remedy: str
) -> None:
    line = refused(tmp_path, f"Host a\n {setting}\n")
    assert line.startswith(f":2: `{setting}` applies to a and is not supported; {remedy}")
    assert resolved(tmp_path, f"Host b\n {setting}\n").name == "a"


@pytest.mark.parametrize("keyword", sorted(REFUSED))
def test_a_keyword_that_asks_for_nothing_is_no_trouble(tmp_path: Path, keyword: str) -> None:
    for value in REFUSED[keyword].unless:
        assert resolved(tmp_path, f"{keyword} {value.upper()}\n") == resolved(tmp_path, "")


@pytest.mark.parametrize("keyword", sorted(IGNORED))
def test_what_is_ignored_changes_nothing(tmp_path: Path, keyword: str) -> None:
    assert resolved(tmp_path, f"{keyword} yes and more\n") == resolved(tmp_path, "")


# --- who, where, with which keys -----------------------------------------------------------------


def test_the_user_is_the_account_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resolved(tmp_path, "").user
    monkeypatch.setenv("LOGNAME", "nobody-here")
    assert getpass.getuser() == "nobody-here"
    assert resolved(tmp_path, "").user == before


def test_paths_have_tokens_variables_and_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB", "/lab %h")
    text = (
        "Host a\n HostName B.example\n User me\n Port 7\n"
        ' IdentityFile "~/my keys/%r@%h:%p"\n IdentityFile ${LAB}/%n\n IdentityFile none\n'
        " CertificateFile %d/%i%%\n IdentityAgent ~/agent-%n\n"
        ' UserKnownHostsFile "~/known hosts" %d/%k\n GlobalKnownHostsFile none\n'
    )
    target = resolved(tmp_path, text)
    home = str(tmp_path / "user")
    assert target.keys == (f"{home}/my keys/me@b.example:7", "/lab %h/a")
    assert target.certificates == (f"{home}/{os.getuid()}%",)
    assert target.agent == f"{home}/agent-a"
    assert target.known_hosts == (f"{home}/known hosts", f"{home}/a")
    assert target.trust_file == f"{home}/known hosts"


def test_no_key_at_all_is_not_the_usual_keys(tmp_path: Path) -> None:
    assert resolved(tmp_path, "").keys is None
    assert resolved(tmp_path, "IdentityFile none\n").keys == ()


def test_the_agent_is_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved(tmp_path, "").agent is None
    monkeypatch.setenv("SSH_AUTH_SOCK", "/usual")
    monkeypatch.setenv("OTHER", "/other")
    assert resolved(tmp_path, "").agent == "/usual"
    assert resolved(tmp_path, "IdentityAgent SSH_AUTH_SOCK\n").agent == "/usual"
    assert resolved(tmp_path, "IdentityAgent none\n").agent is None
    assert resolved(tmp_path, "IdentityAgent $OTHER\n").agent == "/other"
    assert resolved(tmp_path, "IdentityAgent ${OTHER}/x\n").agent == "/other/x"


def test_known_hosts_come_from_the_setting_else_the_configuration_else_the_usual_place(
    tmp_path: Path,
) -> None:
    home = str(tmp_path / "user")
    usual = (f"{home}/.ssh/known_hosts", f"{home}/.ssh/known_hosts2")
    system = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
    assert resolved(tmp_path, "").known_hosts == (*usual, *system)
    text = "UserKnownHostsFile ~/lab\nGlobalKnownHostsFile /etc/lab\n"
    assert resolved(tmp_path, text).known_hosts == (f"{home}/lab", "/etc/lab")
    settings = SshConfig(config=str(tmp_path / "config"), known_hosts="~/mine")
    target = resolve([HostConfig("a")], settings)["a"]
    assert (target.known_hosts, target.trust_file) == ((f"{home}/mine", "/etc/lab"), f"{home}/mine")


@pytest.mark.parametrize("nothing", ["/dev/null", "none"])
def test_a_file_that_keeps_nothing_does_not_make_hosts_unknown_for_ever(
    tmp_path: Path, nothing: str
) -> None:
    target = resolved(tmp_path, f"UserKnownHostsFile {nothing}\nStrictHostKeyChecking no\n")
    assert target.trust_file == str(tmp_path / "user/.ssh/known_hosts")
    assert target.trust_file in target.known_hosts


@pytest.mark.parametrize(
    "name", ["$(reboot)", "a;b", "a b", "`x`", "-oProxyCommand=x", "a'b", "a\\"]
)
def test_a_name_from_a_list_is_no_part_of_a_shells_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="has a character that is special to a shell"):
        resolved(tmp_path, "ProxyCommand nc %r %h\n", user=name)
    assert resolved(tmp_path, "", user="DOMAIN\\me").user == "DOMAIN\\me"


def test_the_first_of_jump_and_command_counts(tmp_path: Path) -> None:
    target = resolved(tmp_path, "Host a\n ProxyCommand none\n ProxyJump gate\n")
    assert (target.jump, target.proxy_command) == (None, None)
    target = resolved(tmp_path, "Host a\n ProxyJump %r@gate\n ProxyCommand x\nHost a\n User me\n")
    assert target.jump
    assert (target.jump.user, target.jump.name, target.proxy_command) == ("me", "gate", None)
    target = resolved(tmp_path, "ProxyCommand nc '%h' %p # %%\n", address="::1")
    assert target.proxy_command == "nc '::1' 22 # %"


def test_a_short_name_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, *_: object, **__: object) -> list[object]:
        if host in ("a.lab.example.", "a.b.lab.example."):
            return []
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", answer)
    domains = "CanonicalDomains other.example lab.example\n"
    text = f"CanonicalizeHostname yes\n{domains}Host a.lab.example\n User full\n"
    target = resolved(tmp_path, text)
    assert (target.address, target.user) == ("a.lab.example", "full")
    assert resolved(tmp_path, text, "a.b").address == "a.b.lab.example"
    assert resolved(tmp_path, text, "a.b.c").address == "a.b.c"
    assert resolved(tmp_path, text, "c").address == "c"
    assert resolved(tmp_path, f"ProxyJump gate\n{text}").address == "a"
    always = text.replace("yes", "always")
    assert resolved(tmp_path, f"ProxyCommand x\n{always}").address == "a.lab.example"
    with pytest.raises(ConfigError, match="none of CanonicalDomains has the host c"):
        resolved(tmp_path, f"CanonicalizeFallbackLocal no\n{text}", "c")
    assert resolved(tmp_path, f"CanonicalizeHostname no\n{domains}").address == "a"


# --- algorithms ----------------------------------------------------------------------------------


def test_algorithms_that_are_left_out_are_not_used(tmp_path: Path) -> None:
    text = (
        "Ciphers aes256-ctr,chacha20-poly1305@openssh.com\nMACs -hmac-md5*\n"
        "KexAlgorithms +diffie-hellman-group1-sha1\nPubkeyAcceptedAlgorithms ssh-ed25519*\n"
        "HostKeyAlgorithms ^rsa-sha2-512\nRequiredRSASize 2048\n"
    )
    algorithms = resolved(tmp_path, text).algorithms
    transport = paramiko.Transport
    left = [name for name in transport._preferred_ciphers if name != "aes256-ctr"]
    assert list(algorithms.disabled["ciphers"]) == left
    assert set(algorithms.disabled["macs"]) == {"hmac-md5", "hmac-md5-96"}
    assert algorithms.disabled["kex"] == algorithms.disabled["keys"] == ()
    assert algorithms.admit("ssh-ed25519", 256)
    assert algorithms.admit("ssh-ed25519-cert-v01@openssh.com", 256)
    assert not algorithms.admit("ssh-rsa", 4096)
    plain = resolved(tmp_path, "PubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-256\n").algorithms
    assert not plain.admit("ssh-ed25519-cert-v01@openssh.com", 256)
    assert plain.admit("ssh-rsa", 1024)
    assert not resolved(tmp_path, "RequiredRSASize 2048\n").algorithms.admit("ssh-rsa", 1024)


def test_a_list_without_anything_that_is_supported_is_named(tmp_path: Path) -> None:
    line = refused(tmp_path, "Ciphers chacha20-poly1305@openssh.com\n")
    assert line.startswith(":1: `Ciphers chacha20-poly1305@openssh.com` has nothing that dnnbench")
    assert "supported are aes128-ctr" in line
