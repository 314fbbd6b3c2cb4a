from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnnbench.errors import ConfigError
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.hostlists.hostfile import read_hostfile
from dnnbench.settings.hostlists.inventory import read_inventory
from dnnbench.settings.hostlists.ranges import MOST, expand, expand_list
from dnnbench.settings.hostlists.sources import HostsChoice
from dnnbench.settings.load import load
from dnnbench.settings.schema import Config, Resolved
from dnnbench.sweep.placement import Host, to_host

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = """[[hosts]]
name = "node1"
user = "bench"
key = "~/.ssh/cluster"
slots = 2
[[hosts]]
name = "node2"
"""


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def resolve(**choice: Any) -> Resolved:
    return load(None, {}, {}, HostsChoice(**choice))


def hosts_of(**choice: Any) -> list[HostConfig]:
    return list(resolve(**choice).config.hosts)


def hostfile(text: str) -> list[HostConfig]:
    Path("hosts").write_text(text, encoding="utf-8")
    return hosts_of(hostfile="hosts")


def inventory(text: str, group: str | None = None) -> list[HostConfig]:
    Path("inventory.ini").write_text(text, encoding="utf-8")
    choice = {"inventory": "inventory.ini"} | ({"group": group} if group else {})
    return hosts_of(**choice)


def names(hosts: list[HostConfig]) -> list[str]:
    return [host.name for host in hosts]


def refusal(read: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*arguments, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def outcome(read: Callable[[], list[Any]]) -> list[Any] | str:
    """Return what was read, or the line of the refusal."""
    try:
        return read()
    except ConfigError as error:
        return str(error)


# --- where hosts come from -----------------------------------------------------------------------


def test_without_any_list_there_is_this_machine_alone() -> None:
    resolved = resolve()
    assert (resolved.config, resolved.origins["hosts"]) == (Config(), "default")


def test_hosts_of_the_command_line_keep_what_the_file_says_of_them() -> None:
    Path("dnnbench.toml").write_text(TABLES)
    resolved = resolve(hosts="node3, root@node1:2222,node2")
    assert resolved.config.hosts == (
        HostConfig("node3"),
        HostConfig("node1", port=2222, user="root", key="~/.ssh/cluster", slots=2),
        HostConfig("node2"),
    )
    assert resolved.origins["hosts"] == "--hosts"
    assert names(hosts_of()) == ["node1", "node2"]


def test_a_list_in_a_file_is_known_by_the_line_of_its_first_host() -> None:
    Path("dnnbench.toml").write_text(TABLES)
    assert resolve().origins["hosts"] == "dnnbench.toml:1"
    Path("hosts").write_text("# mine\n\nnode9\nnode1 slots=3\n")
    resolved = resolve(hostfile="hosts")
    assert resolved.origins["hosts"] == "hosts:3"
    assert resolved.config.hosts[1] == HostConfig(
        "node1", user="bench", key="~/.ssh/cluster", slots=3
    )
    Path("inventory").write_text("[a]\nnode1\n")
    assert resolve(inventory="inventory").origins["hosts"] == "inventory:2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node1", HostConfig("node1")),
        ("me@node1.example.org:22", HostConfig("node1.example.org", user="me", port=22)),
        ("10.0.0.1:2222", HostConfig("10.0.0.1", port=2222)),
        ("fe80::1%eth0", HostConfig("fe80::1%eth0")),
        ("me@[fe80::1]:22", HostConfig("fe80::1", user="me", port=22)),
        ("[::1]", HostConfig("::1")),
        ("me@realm@node1", HostConfig("node1", user="me@realm")),
    ],
)
def test_a_host_may_have_a_user_and_a_port(text: str, expected: HostConfig) -> None:
    assert hosts_of(hosts=text) == [expected]


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"hosts": "a,b,a"}, "--hosts: a is listed twice"),
        ({"hosts": "a,,b"}, "--hosts: expected a host's name or address, got ''"),
        ({"hosts": ""}, "--hosts: expected a host's name or address, got ''"),
        ({"hosts": "a b"}, "--hosts: expected a host's name or address, got 'a b'"),
        ({"hosts": "-oProxyCommand=x"}, "--hosts: expected a host's name or address, got '-oP"),
        ({"hosts": "../a"}, "--hosts: expected a host's name or address, got '../a'"),
        ({"hosts": "a:"}, "--hosts: port: expected a whole number, got ''"),
        ({"hosts": "a:70000"}, "--hosts: port: expected a whole number <= 65535, got '70000'"),
        (
            {"hosts": "@a"},
            "--hosts: user: expected text, not empty and without control characters, got ''",
        ),
        (
            {"hosts": "a", "inventory": "b"},
            "--inventory: expected one list of hosts, got --hosts, --inventory",
        ),
        ({"group": "web"}, "--group: needs an inventory; give --inventory, too"),
        ({"hosts": "a", "group": "web"}, "--group: needs an inventory"),
        ({"hostfile": "none"}, "none: there is no such file"),
        ({"inventory": "."}, ".: expected a regular file, found a directory"),
    ],
)
def test_what_is_wrong_with_a_choice_is_one_line(choice: dict[str, str], line: str) -> None:
    assert refusal(hosts_of, **choice).startswith(line)


def test_a_password_beside_a_host_is_refused_and_not_repeated() -> None:
    assert refusal(hosts_of, hosts="me:secret@node1") == (
        "--hosts: expected user@host, got a password, too; use an SSH key instead"
    )


def test_a_plans_host_has_the_address_of_tensorflows_traffic() -> None:
    config = HostConfig("node1", address="192.0.2.1", slots=3)
    assert to_host(config, "192.0.2.1") == Host("node1", "192.0.2.1", 3)
    apart = HostConfig("node1", address="192.0.2.1", data_address="10.0.0.1")
    assert to_host(apart, "192.0.2.1") == Host("node1", "10.0.0.1", 1)


# --- Open MPI host files -------------------------------------------------------------------------


def test_a_host_file_is_read_as_open_mpi_writes_it() -> None:
    text = """
# The cluster
node3 slots=2            # its first
node1 slots = 4 max-slots = 8
node2.example.org max_slots=6
me@10.0.0.4\t slots=1 // its last
node5
"""
    assert hostfile(text) == [
        HostConfig("node3", slots=2),
        HostConfig("node1", slots=4),
        HostConfig("node2.example.org", slots=6),
        HostConfig("10.0.0.4", user="me", slots=1),
        HostConfig("node5", slots=1),
    ]
    assert hostfile("\ufeffnode1 slots=2\r\nnode2 port=2222 username=me\r\n") == [
        HostConfig("node1", slots=2),
        HostConfig("node2", port=2222, user="me"),
    ]


def test_a_host_that_is_repeated_has_a_slot_for_each_time() -> None:
    assert hostfile("a\na\nme@b\na\nme@b\nc slots=4\n") == [
        HostConfig("a", slots=3),
        HostConfig("b", user="me", slots=2),
        HostConfig("c", slots=4),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a slots=2\na\n", "hosts:2: a is listed twice, first at hosts:1"),
        ("a\nme@a\n", "hosts:2: a is listed twice, first at hosts:1"),
        ("a\n\na slots=2\n", "hosts:3: a is listed twice, first at hosts:1"),
        ("a slots=0\n", "hosts:1: slots: expected a whole number >= 1, got '0'"),
        ("a slots=two\n", "hosts:1: slots: expected a whole number, got 'two'"),
        ("a slots\n", "hosts:1: expected `host slots=N max-slots=N`, got 'slots'"),
        ("a slots=2 slots=3\n", "hosts:1: slots gives the slots of a host a second time"),
        ("\na slot=2\n", "hosts:2: slot is not known; did you mean slots?"),
        ("a slots=4 max-slots=2\n", "hosts:1: slots=4 is above max-slots=2"),
        ("slots=4\n", "hosts:1: expected a host before 'slots=4'"),
        ("+n0\n", "hosts:1: expected the name of a host; ^ and + are not supported"),
        ("^a\n", "hosts:1: expected the name of a host; ^ and + are not supported"),
        ("a/b slots=4\n", "hosts:1: expected a host's name or address, got 'a/b'"),
        ("# nobody\n", "hosts: names no host"),
    ],
)
def test_what_a_host_file_has_wrong_is_named_with_its_line(text: str, line: str) -> None:
    assert refusal(hostfile, text).startswith(line)


# --- Ansible inventories -------------------------------------------------------------------------

TWO_LEVELS = """\
; Everything there is
bastion ansible_host=192.0.2.1

[servers]
ps1 ansible_host=10.0.0.1 ansible_user=root  # a comment
[workers]
node[01:03].example.org:2222 dnnbench_slots=2 http_port=80
gpu ansible_host="10.0.0.9" ansible_ssh_private_key_file='~/.ssh/a key'

[cluster:children]
workers
servers # last

[cluster:vars]
ansible_user=bench
dnnbench_usd_per_hour = 0.19   # each
[workers:vars]
ansible_user = "worker"
[all:vars]
ansible_user=nobody
ansible_port=22
ansible_python_interpreter=/usr/bin/python3
"""


def test_a_group_of_an_inventory_comes_with_its_childrens_hosts_in_order() -> None:
    worker: dict[str, Any] = {"port": 2222, "user": "worker", "slots": 2, "usd_per_hour": 0.19}
    assert inventory(TWO_LEVELS, "cluster") == [
        HostConfig("node01.example.org", **worker),
        HostConfig("node02.example.org", **worker),
        HostConfig("node03.example.org", **worker),
        HostConfig(
            "gpu", "10.0.0.9", port=22, user="worker", key="~/.ssh/a key", usd_per_hour=0.19
        ),
        HostConfig("ps1", "10.0.0.1", port=22, user="root", usd_per_hour=0.19),
    ]
    assert names(inventory(TWO_LEVELS, "servers")) == ["ps1"]
    assert names(inventory(TWO_LEVELS, "ungrouped")) == ["bastion"]
    assert names(inventory(TWO_LEVELS, "all"))[:2] == ["bastion", "ps1"]
    assert inventory(TWO_LEVELS, "all")[0] == HostConfig(
        "bastion", "192.0.2.1", port=22, user="nobody"
    )


def test_a_group_has_to_be_named_unless_one_has_every_host() -> None:
    assert names(inventory("b\na\n")) == ["b", "a"]
    assert names(inventory("[web]\nb\na\n[db]\na\n")) == ["b", "a"]
    assert refusal(inventory, TWO_LEVELS) == (
        "inventory.ini: has several groups, and none contains every host: servers, workers, "
        "cluster; name one with --group, or use --group all"
    )


def test_a_host_of_two_groups_has_the_variables_of_both() -> None:
    text = "[a]\nnode1 ansible_port=1\n[b]\nnode1 ansible_user=u\n[b:vars]\ndnnbench_slots=3\n"
    assert inventory(text, "a") == [HostConfig("node1", port=1, user="u", slots=3)]


def test_a_line_of_its_own_adds_to_what_a_range_says_of_a_host() -> None:
    text = "[w]\nn[1:3] ansible_port=1 ansible_user=u\nn2 ansible_port=2\nn2\n"
    assert inventory(text, "w") == [
        HostConfig("n1", port=1, user="u"),
        HostConfig("n2", port=2, user="u"),
        HostConfig("n3", port=1, user="u"),
    ]


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("ansible_connection=community.docker.docker", "community.docker.docker"),
        ("ansible_ssh_common_args='-o ProxyCommand=\"ssh -W %h:%p gate\"'", "ProxyCommand"),
        ("ansible_ssh_common_args='-oProxyJump=gate'", "ProxyJump"),
        ("ansible_ssh_common_args='-o \"proxyjump gate\"'", "proxyjump"),
        ("ansible_ssh_extra_args='-C -J gate'", "-J"),
        ("ansible_ssh_args='-F /etc/other'", "-F"),
    ],
)
def test_a_host_that_ansible_reaches_otherwise_is_refused_if_it_is_chosen(
    variable: str, found: str
) -> None:
    text = f"[w]\nn1\n[other]\nn2 {variable}\n"
    assert names(inventory(text, "w")) == ["n1"]
    key = variable.partition("=")[0]
    assert refusal(inventory, text, "all") == (
        f"inventory.ini:4: n2: {key} has {found}, which dnnbench does not obey; put the route to "
        "the host into ~/.ssh/config, or leave the host out"
    )


@pytest.mark.parametrize(
    "variable",
    [
        "ansible_connection=ssh",
        "ansible_connection=ansible.builtin.paramiko_ssh",
        "ansible_ssh_common_args='-o StrictHostKeyChecking=no -o ControlMaster=auto -C'",
        "ansible_ssh_common_args=''",
    ],
)
def test_what_leads_to_the_same_host_is_left_to_ansible(variable: str) -> None:
    assert inventory(f"n1 {variable}\n") == [HostConfig("n1")]


def test_a_hosts_own_connection_stands_above_its_groups() -> None:
    text = "n1 ansible_connection=ssh\n[all:vars]\nansible_connection=local\n"
    assert inventory(text, "all") == [HostConfig("n1")]


@pytest.mark.parametrize("plug_in", ["local", "ansible.builtin.local"])
def test_a_host_that_ansible_finds_on_this_machine_is_found_there(plug_in: str) -> None:
    text = f"[all]\nn1 ansible_connection={plug_in}\nn2\n"
    assert inventory(text, "all") == [HostConfig("n1", connect="local"), HostConfig("n2")]


LISTED = {
    "_meta": {
        "hostvars": {
            "bastion": {"ansible_host": "192.0.2.1"},
            "node01": {
                "ansible_port": 2222,
                "ansible_user": "bench",
                "dnnbench_usd_per_hour": 0.19,
                "tags": ["a", "b"],
                "ansible_password": "secret",
            },
            "node02": {"ansible_user": "bench", "dnnbench_slots": 2},
        },
        "profile": "inventory_legacy",
    },
    "all": {"children": ["ungrouped", "cluster", "empty"]},
    "cluster": {"children": ["workers"]},
    "ungrouped": {"hosts": ["bastion"]},
    "workers": {"hosts": ["node01", "node02"]},
}
"""As ansible-core 2.19 prints an inventory; groups without hosts and children are left out."""


def test_what_ansible_lists_is_an_inventory() -> None:
    nodes = [
        HostConfig("node01", port=2222, user="bench", usd_per_hour=0.19),
        HostConfig("node02", user="bench", slots=2),
    ]
    text = json.dumps(LISTED)
    assert inventory(text, "cluster") == nodes
    assert inventory(text, "all") == [HostConfig("bastion", "192.0.2.1"), *nodes]
    assert inventory(text, "ungrouped") == [HostConfig("bastion", "192.0.2.1")]


def test_variables_of_exported_groups_stand_below_those_of_hosts() -> None:
    listed = {
        "_meta": {"hostvars": {"a": {"ansible_user": "own"}}},
        "all": {"children": ["w"], "vars": {"ansible_user": "low", "ansible_port": 1}},
        "w": {"hosts": ["a", "b"], "vars": {"ansible_port": 2}},
    }
    assert inventory(json.dumps(listed), "w") == [
        HostConfig("a", user="own", port=2),
        HostConfig("b", user="low", port=2),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "inventory.ini: expected what `ansible-inventory --list` prints, found otherwise: "),
        ('{"w": 1}', "inventory.ini: expected what `ansible-inventory --list` prints, found"),
        ('{"w": {"hosts": [1]}}', "inventory.ini: expected what `ansible-inventory --list` prints"),
        ('{"w": {"hosts": ["a b"]}}', "inventory.ini: w: expected a host's name or address, got"),
        (
            '{"_meta": {"hostvars": {"a": {"dnnbench_slots": 0}}}, "w": {"hosts": ["a"]}}',
            "inventory.ini: a: dnnbench_slots: expected a whole number >= 1, got '0'",
        ),
        (
            '{"_meta": {"hostvars": {"a": {"ansible_host": "{{ ip }}"}}}, "w": {"hosts": ["a"]}}',
            "inventory.ini: a: ansible_host is a template",
        ),
        (
            '{"w": {"hosts": ["a"], "vars": {"ansible_connection": "winrm"}}}',
            "inventory.ini: w: a: ansible_connection has winrm, which dnnbench does not obey",
        ),
        ("[" * 100_000, "inventory.ini:1: "),
        ('{"w": ' + '{"a": ' * 100_000, "inventory.ini: expected what `ansible-inventory --list`"),
        ('{"a": {"children": ["b"]}, "b": {"children": ["a"]}}', "inventory.ini: groups contain"),
        ("{}", "inventory.ini: names no host"),
    ],
)
def test_what_a_list_of_ansible_has_wrong_is_one_line(text: str, line: str) -> None:
    assert refusal(inventory, text, "all").startswith(line)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("node1", ["node1"]),
        ("node[08:11]", ["node08", "node09", "node10", "node11"]),
        ("n[1:10:4]x", ["n1x", "n5x", "n9x"]),
        ("[a:c].org", ["a.org", "b.org", "c.org"]),
        ("r[:1]n[A:B]", ["r0nA", "r0nB", "r1nA", "r1nB"]),
        ("[::1]", ["::1"]),
        ("[fe80::1:2]", ["fe80::1:2"]),
    ],
)
def test_ranges_have_both_ends_and_keep_their_zeros(pattern: str, expected: list[str]) -> None:
    assert expand(pattern, "here") == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("n1 dnnbench_slot=2\n", "inventory.ini:1: dnnbench_slot is not known; did you mean dnn"),
        ("n1 dnnbench_slots=x\n", "inventory.ini:1: dnnbench_slots: expected a whole number, got"),
        ("[all:vars]\n\ndnnbench_slots=0\n", "inventory.ini:3: dnnbench_slots: expected a whole"),
        ("n1 ansible_port=ssh\n", "inventory.ini:1: ansible_port: expected a whole number, got"),
        ("n1 ansible_host='{{ ip }}'\n", "inventory.ini:1: ansible_host is a template"),
        (
            "n1 slots\n",
            "inventory.ini:1: expected variable=value after the host's name; put a value",
        ),
        ("n1 ansible_user='me\n", "inventory.ini:1: expected a host; is a quote unclosed?"),
        ("ansible_user=me\n", "inventory.ini:1: expected a host's name before its variables; v"),
        ("[a]\nn1\n[a:vars]\nx\n", "inventory.ini:4: expected variable=value"),
        ("[a:child]\n", "inventory.ini:1: expected [a], [a:children] or [a:vars], got [a:child]"),
        ("[webs]\nn1\n[web:vars]\nx=1\n", "inventory.ini:3: there is no group [web]; did you mean"),
        ("[web]\nn1\n[a:children]\nwbe\n", "inventory.ini:4: there is no group [wbe]; did you"),
        ("[a:children]\nb\n[b:children]\na\n", "inventory.ini: groups contain each other: "),
        (
            "".join(f"[g{n}:children]\ng{n + 1}\n" for n in range(200)) + "[g200]\nx\n",
            "inventory.ini: expected groups nested at most 100 deep, found 201",
        ),
        ("n[1:2\n", "inventory.ini:1: expected a host's name or address, got 'n[1:2'"),
        ("n[1-2]\n", "inventory.ini:1: expected a range such as [01:12] or [a:f], got [1-2]"),
        ("n[3:1]\n", "inventory.ini:1: [3:1]: expected a start not above the end, and a step"),
        ("n[1:3:0]\n", "inventory.ini:1: [1:3:0]: expected a start not above the end, and a"),
        (
            "n[01:100]\n",
            "inventory.ini:1: [01:100]: expected the same number of digits at both ends",
        ),
        ("n[1:999999999]\n", f"inventory.ini:1: [1:999999999]: expected at most {MOST} hosts"),
        (
            "n[1:999][1:999]\n",
            f"inventory.ini:1: expected at most {MOST} hosts per line, got 998001",
        ),
        ("all:\n  hosts:\n", "inventory.ini:1: expected a host's name or address, got 'all:'"),
        ("---\nall:\n", "inventory.ini: is YAML, which is not read; `ansible-inventory -i"),
        ("$ANSIBLE_VAULT;1.1;AES256\n00\n", "inventory.ini: is encrypted"),
        ("; nobody\n", "inventory.ini: names no host"),
    ],
)
def test_what_an_inventory_has_wrong_is_named_with_its_line(text: str, line: str) -> None:
    assert refusal(inventory, text).startswith(line)


def test_an_unknown_group_is_refused_with_the_nearest() -> None:
    assert refusal(inventory, TWO_LEVELS, "worker") == (
        "inventory.ini: there is no group 'worker'; did you mean workers?"
    )


@pytest.mark.parametrize(
    "line",
    [
        "n1 ansible_password=s3cret ansible_become_password='s3cret'",
        "n1 ansible_password=a s3cret",
        "n1 ansible_password='s3cret",
        "n1 s3cret",
        "ansible_password=s3cret",
        "[all:vars]\ns3cret",
        "[all:vars]\nansible_ssh_pass=s3cret\n[all]\nn1",
        "[a:children]\ns3cret s3cret",
    ],
)
def test_passwords_are_neither_kept_nor_shown(line: str) -> None:
    assert "s3cret" not in repr(outcome(lambda: inventory(line)))


# --- whatever a file holds -----------------------------------------------------------------------

LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.text("ab[]:=01 \"'#;@.-*/{}", max_size=30),
        st.sampled_from(
            ["[a]", "[a:vars]", "[a:children]", "b", "[b:children]", "a", "n[1:3]", "x=1", "[all]"]
        ),
        st.builds(
            "{} {}={}".format,
            st.sampled_from(["n1", "n[1:2]", "me@n1", "[::1]:22"]),
            st.sampled_from(["slots", "max-slots", "ansible_port", "dnnbench_usd_per_hour"]),
            st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.just("9" * 5000)),
        ),
    ),
    max_size=8,
).map("\n".join)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists") / "hosts"


@given(text=LINES, group=st.sampled_from([None, "all", "a"]))
def test_whatever_a_file_holds_it_is_hosts_or_one_line(
    path: Path, text: str, group: str | None
) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (lambda: read_hostfile(path), lambda: read_inventory(path, group)):
        entries = outcome(read)
        if isinstance(entries, str):
            assert "\n" not in entries
        else:
            assert all(HostConfig(**settings) for _, settings in entries)


@given(st.text())
def test_whatever_is_typed_for_hosts_it_is_hosts_or_one_line(text: str) -> None:
    hosts = outcome(lambda: hosts_of(hosts=text))
    if isinstance(hosts, str):
        assert "\n" not in hosts
    else:
        assert len({host.name for host in hosts}) == len(hosts) > 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b", ["a", "b"]),
        ("node[01-03]", ["node01", "node02", "node03"]),
        ("node[01:03]", ["node01", "node02", "node03"]),
        ("node[1-2,7,09-10],x", ["node1", "node2", "node7", "node09", "node10", "x"]),
        ("rack[a-b]-n[1:3:2]", ["racka-n1", "racka-n3", "rackb-n1", "rackb-n3"]),
        ("me@n[1-2].lab:2222", ["me@n1.lab:2222", "me@n2.lab:2222"]),
        ("[::1], me@[fe80::1]:2222", ["[::1]", "me@[fe80::1]:2222"]),
        ("a, ,b", ["a", "", "b"]),
    ],
)
def test_hosts_of_the_option_may_be_ranges_of_slurm_and_ansible(
    text: str, found: list[str]
) -> None:
    assert expand_list(text, "--hosts") == found


def test_ranges_of_the_option_are_hosts() -> None:
    assert names(hosts_of(hosts="node[01-02],b:2222")) == ["node01", "node02", "b"]
    for text, problem in (
        ("node[01-4]", "the same number of digits at both ends"),
        ("node[4-1]", "expected a start not above the end"),
        ("node[]", "expected a range such as"),
        ("node[1-2", "--hosts: "),
        (f"a[1-{MOST}],b", f"expected at most {MOST} hosts"),
        ("a[1-9999],b[1-9999]", f"expected at most {MOST} hosts"),
    ):
        with pytest.raises(ConfigError, match=problem):
            hosts_of(hosts=text)


@pytest.mark.parametrize("port", [1, 4, 21])
def test_slots_after_a_colon_are_told_from_a_port(port: int) -> None:
    line = f"a:{port} means port {port}, where no SSH server listens; for {port} slots, write "
    with pytest.raises(ConfigError, match=line):
        hosts_of(hosts=f"a:{port}")
    with pytest.raises(ConfigError, match=line):
        hostfile(f"a:{port}\n")
