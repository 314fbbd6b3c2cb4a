"""The way to a host: names of connectors, and templates of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnnbench.errors import ConfigError
from dnnbench.settings.hostlists.connect import check_connect, kind_of, words_of
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.hostlists.slurm import STEP
from dnnbench.settings.hostlists.sources import HostsChoice
from dnnbench.settings.load import load


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("kubectl exec -i {name} -- {command}", "kubectl|exec|-i|n-1.a|--|sh|-c|a 'b' $c"),
        ("podman exec -i {name} {command}", "podman|exec|-i|n-1.a|sh|-c|a 'b' $c"),
        ("srun -w{name} {command}", "srun|-wn-1.a|sh|-c|a 'b' $c"),
        ("'/a b/run' --on={name}.{name} {command}", "/a b/run|--on=n-1.a.n-1.a|sh|-c|a 'b' $c"),
        ("docker exec {name} bash -lc {command}", "docker|exec|n-1.a|bash|-lc|a 'b' $c"),
    ],
)
def test_a_template_becomes_words_that_no_shell_reads(template: str, words: str) -> None:
    assert check_connect(template, "here") == template
    assert kind_of(template) == "command"
    assert words_of(template, "n-1.a", "a 'b' $c") == words.split("|")


@pytest.mark.parametrize(
    ("connect", "line"),
    [
        ("lokal", "expected ssh, local or a template, got 'lokal'; did you mean local?"),
        ("", "expected ssh, local or a template, got ''; write it like 'podman exec"),
        ("ssh {name}", "expected {command} once, as a word of its own; write it like"),
        ("ssh {name} {command} {command}", "expected {command} once, as a word of its own"),
        ("ssh {name} 'cd /; {command}'", "expected {command} once, as a word of its own"),
        ("ssh {command}", "expected {name} in the template, found none"),
        ("ssh -p {port} {name} {command}", "expected {name} and {command} only, found {port}"),
        ("ssh ${HOST} {name} {command}", "expected {name} and {command} only, found {HOST}"),
        ("ssh '{name} {command}", "the template cannot be split into words: no closing"),
        ("{name} {command}", "expected a program first, found {name}"),
        ("{command} {name}", "expected a program first, found {command}"),
    ],
)
def test_what_is_wrong_with_a_template_is_one_line(connect: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_connect(connect, "here")
    assert str(caught.value).startswith(f"here: {line}")


def test_a_table_gives_one_host_its_way_and_the_option_gives_it_to_all() -> None:
    template = "podman exec -i {name} {command}"
    text = f'[[hosts]]\nname = "a"\nconnect = "{template}"\n[[hosts]]\nname = "b"\n'
    Path("dnnbench.toml").write_text(text)
    assert load(None, {}, {}).config.hosts == (HostConfig("a", connect=template), HostConfig("b"))
    hosts = load(None, {}, {}, HostsChoice(connect="local")).config.hosts
    assert {host.connect for host in hosts} == {"local"}
    resolved = load(None, {}, {}, HostsChoice(hosts="a,c", connect="ssh"))
    assert resolved.config.hosts == (HostConfig("a"), HostConfig("c"))


@pytest.mark.parametrize(
    ("text", "choice", "line"),
    [
        ("", HostsChoice(connect="local"), "--connect: needs hosts; name them with --hosts, too"),
        ("", HostsChoice(hosts="a", connect="x"), "--connect: expected ssh, local or a template"),
        ('[[hosts]]\nname = "a"\nconnect = "x"\n', None, "dnnbench.toml:3: [[hosts]] connect: exp"),
        ("", HostsChoice(hosts="-oProxyCommand=x"), "--hosts: expected a host's name or address"),
        ("", HostsChoice(hosts="a", slurm=True), "--slurm: expected one list of hosts, got --hos"),
        ("", HostsChoice(slurm=True), "--slurm: expected a Slurm job, found no SLURM_JOB_NODELIST"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    text: str, choice: HostsChoice | None, line: str
) -> None:
    Path("dnnbench.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(None, {}, {}, choice)
    assert str(caught.value).startswith(line)


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that knows two nodes; the real one is tried in `tests/cluster/test_slurm.py`."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$*" = "show hostnames n[1-2]" ] && printf "n1\\nn2\\n"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


@pytest.mark.parametrize(("tasks", "slots"), [({}, 1), ({"SLURM_NTASKS_PER_NODE": "3"}, 3)])
def test_a_slurm_job_gives_its_nodes(scontrol: Path, tasks: dict[str, str], slots: int) -> None:
    resolved = load(None, {"SLURM_JOB_NODELIST": "n[1-2]", **tasks}, {}, HostsChoice(slurm=True))
    assert scontrol.exists()
    assert resolved.origins["hosts"] == "--slurm"
    assert check_connect(STEP, "here") == STEP
    assert resolved.config.hosts == tuple(
        HostConfig(name, slots=slots, connect=STEP) for name in ("n1", "n2")
    )


def test_a_slurm_job_whose_nodes_cannot_be_told_is_refused(
    scontrol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"SLURM_JOB_NODELIST": "n[1-9]"}
    with pytest.raises(ConfigError, match="--slurm: scontrol ended with 1: no message; try it by"):
        load(None, environ, {}, HostsChoice(slurm=True))
    scontrol.unlink()
    monkeypatch.setenv("PATH", str(scontrol.parent))
    with pytest.raises(ConfigError, match="--slurm: scontrol is not installed on this machine"):
        load(None, environ, {}, HostsChoice(slurm=True))
