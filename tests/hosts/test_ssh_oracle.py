"""The SSH configuration against OpenSSH itself: ``ssh -G`` prints what it makes of a file."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnnbench.hosts.ssh.config.keywords import TREATMENTS
from dnnbench.hosts.ssh.config.lookup import Files, Source
from dnnbench.hosts.ssh.settings import resolve
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.schema import SshConfig

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH is not installed")

HOSTS = ("a", "ab", "b.x", "A", "10.0.0.7")
PATTERNS = ("a", "a*", "?b", "!a", "*", "b.*", "[ab]", "A", "10.0.*", "!*.x")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSH takes the home directory of the account, whatever HOME is."""
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def of_openssh(path: Path, host: str, *options: str) -> dict[str, list[str]]:
    """Return keyword -> values as OpenSSH understands a file."""
    command = ["ssh", "-T", "-G", "-F", str(path), *options, host]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = defaultdict(list)
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found[keyword.lower()].append(value)
    return found


def assert_same(path: Path, host: str, user: str | None = None, port: int | None = None) -> None:
    """Both make the same of a file: who, where, which keys, which host keys."""
    options = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    theirs = of_openssh(path, host, *options)
    found = Files([Source(path)]).lookup(host, user, port)
    target = resolve([HostConfig(host, user=user, port=port)], SshConfig(config=str(path)))[host]
    assert [target.user, target.address, str(target.port)] == [
        theirs["user"][0],
        theirs["hostname"][0],
        theirs["port"][0],
    ]
    for keyword in ("identityfile", "certificatefile"):
        if lines := found.lines.get(keyword):
            assert [line.argument for line in lines] == theirs[keyword]
    known = [file for path in theirs["userknownhostsfile"] for file in path.split()]
    assert list(target.known_hosts[: len(known)]) == known
    for keyword in ("hostkeyalias", "bindaddress"):
        assert found.value(keyword) == next(iter(theirs[keyword]), None)
    assert target.family == theirs["addressfamily"][0]
    assert [("no", "yes")[target.identities_only]] == theirs["identitiesonly"]
    assert found.value("proxyjump") == next(iter(without_none(theirs["proxyjump"])), None)
    assert found.value("proxycommand") == next(iter(without_none(theirs["proxycommand"])), None)


def without_none(values: list[str]) -> list[str]:
    return [value for value in values if value != "none"]


def lines() -> st.SearchStrategy[str]:
    patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)
    criteria = st.one_of(
        st.tuples(
            st.sampled_from(("", "!")),
            st.sampled_from(("host", "originalhost")),
            patterns.map(",".join),
        ).map(lambda parts: f"{parts[0]}{parts[1]} {parts[2]}"),
        st.sampled_from(
            ("user u", "!user u,v", "localuser root", "final", "canonical", "!final", "exec true")
        ),
        st.sampled_from(("!exec false", 'exec "test %n = a"', 'exec "test %h = ab -a %p = 22"')),
    )
    values = st.sampled_from(
        (
            "HostName %h.x",
            "HostName ab",
            "HostName=B.x",
            "HostName 10.0.0.7",
            "User u",
            'User = "v"',
            "user w # not a name",
            "Port 23",
            "Port=24",
            "Port ssh",
            "IdentityFile ~/k",
            'IdentityFile "/k k/%r"',
            "IdentityFile none",
            "CertificateFile %d/c",
            "IdentitiesOnly yes",
            "IdentitiesOnly no",
            "UserKnownHostsFile /u/%n /u/%h-%p",
            "UserKnownHostsFile ~/f",
            "HostKeyAlias real",
            "ProxyJump u@g:33",
            "ProxyJump none",
            'ProxyCommand nc "%h" %p # all of it',
            "ProxyCommand none",
            "AddressFamily inet",
            "BindAddress 127.0.0.1",
            "CanonicalizeHostname always",
            "CanonicalizeHostname no",
            "ForwardAgent yes",
            "Include part",
        )
    )
    return st.one_of(
        values.map(lambda text: f"  {text}"),
        values.map(lambda text: f"\t{text}"),
        patterns.map(lambda names: f"Host {' '.join(names)}"),
        st.lists(criteria, min_size=1, max_size=3).map(lambda found: f"Match {' '.join(found)}"),
        st.sampled_from(("Match all", "Match final all", "", "# a comment", "Host=a")),
    )


def files() -> st.SearchStrategy[list[str]]:
    return st.lists(lines(), max_size=14)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    files(),
    st.lists(lines().filter(lambda line: "Include" not in line), max_size=6),
    st.sampled_from(HOSTS),
    st.sampled_from(((None, None), ("u", None), (None, 99), ("me", 99))),
)
def test_any_configuration_means_what_it_means_to_openssh(
    tmp_path: Path,
    main: list[str],
    part: list[str],
    host: str,
    given_elsewhere: tuple[str | None, int | None],
) -> None:
    path = tmp_path / "config"
    (tmp_path / "part").write_text("\n".join(part))
    path.write_text("\n".join(main).replace("Include part", f"Include {tmp_path}/par*") + "\n")
    assert_same(path, host, *given_elsewhere)


def test_every_keyword_of_openssh_has_a_treatment(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    assert set(of_openssh(tmp_path / "config", "a")) <= set(TREATMENTS)
