"""``dnnbench manifest``, and the image that its pods run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support import PROJECT, SUPPORT

from dnnbench.cli import main
from dnnbench.hosts import kubernetes
from dnnbench.settings.hostlists.connect import words_of
from dnnbench.settings.hostlists.sources import HostsChoice
from dnnbench.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTAINERFILE = (PROJECT / "docs/container/Containerfile").read_text(encoding="utf-8")
START = (PROJECT / "docs/container/dnnbench-host").read_text(encoding="utf-8")
KINDS = ("Service", "NetworkPolicy", "StatefulSet")


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        capsys.readouterr()
        code = main(["manifest", *arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return run


@pytest.fixture
def objects(printed: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    def run(*arguments: str) -> dict[str, Any]:
        document = json.loads(printed(*arguments))
        assert (document["apiVersion"], document["kind"]) == ("v1", "List")
        assert tuple(item["kind"] for item in document["items"]) == KINDS
        return {item["kind"]: item for item in document["items"]}

    return run


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key whose value is neither an object nor a list, with the value."""
    items = value.items() if isinstance(value, dict) else (("", part) for part in value)
    for key, part in items:
        if isinstance(part, dict | list):
            yield from leaves(part)
        else:
            yield key, part


def pod_of(found: dict[str, Any]) -> Any:
    return found["StatefulSet"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--nodes", "4"),
        ("--nodes", "2", "--namespace", "lab", "--image", "registry.example:5000/a/b@sha256:00ff"),
        ("--cpu", "16", "--memory", "900Mi", "--disk", "1Ti", "--ports", "2000-2000"),
    ],
)
def test_the_objects_fit_the_published_schemas(
    objects: Callable[..., dict[str, Any]], arguments: tuple[str, ...]
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = json.loads((SUPPORT / "kubernetes/schemas.json").read_text(encoding="utf-8"))
    for kind, item in objects(*arguments).items():
        schema = {"$ref": f"#/$defs/{kind}", "$defs": schemas["$defs"]}
        faults = list(jsonschema.Draft202012Validator(schema).iter_errors(item))
        assert not faults, faults
        # A fault is found where there is one: schemas that admitted everything would prove nothing.
        wrong = {**item, "spec": {**item["spec"], "replica": 3}}
        assert list(jsonschema.Draft202012Validator(schema).iter_errors(wrong))


def test_there_is_a_pod_for_every_node_of_the_largest_cell(
    objects: Callable[..., dict[str, Any]],
) -> None:
    assert objects("--nodes", "4,9,6")["StatefulSet"]["spec"]["replicas"] == 9


def test_the_selectors_find_the_pods_and_nothing_of_another_cluster(
    objects: Callable[..., dict[str, Any]],
) -> None:
    mine, others = objects("--name", "one"), objects("--name", "two")
    labels = mine["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        mine["Service"]["spec"]["selector"],
        mine["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        mine["StatefulSet"]["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [labels] * 3
    assert labels != others["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert mine["StatefulSet"]["spec"]["serviceName"] == mine["Service"]["metadata"]["name"]


def test_a_pod_has_its_cores_to_itself(objects: Callable[..., dict[str, Any]]) -> None:
    (container,) = pod_of(objects("--cpu", "3", "--memory", "5Gi"))["containers"]
    resources = container["resources"]
    assert resources["requests"] == resources["limits"]  # quality of service: Guaranteed
    assert resources["limits"] == {"cpu": "3", "memory": "5Gi", "ephemeral-storage": "4Gi"}


def test_a_pod_satisfies_the_restricted_pod_security_standard(
    objects: Callable[..., dict[str, Any]],
) -> None:
    pod = pod_of(objects())
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} == {"emptyDir"}


def test_only_the_cluster_reaches_the_ports_of_tensorflow(
    objects: Callable[..., dict[str, Any]],
) -> None:
    found = objects("--ports", "21000-21099")
    policy = found["NetworkPolicy"]["spec"]
    peers = [{"podSelector": {"matchLabels": policy["podSelector"]["matchLabels"]}}]
    ports = [{"protocol": "TCP", "port": 21000, "endPort": 21099}]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"from": peers, "ports": ports}]
    cluster, names = policy["egress"]
    assert cluster == {"to": peers, "ports": ports}
    assert {port["port"] for port in names["ports"]} == {53}
    assert names["to"]  # a rule without peers would admit every address


def test_a_namespace_is_that_of_every_object_or_none(
    objects: Callable[..., dict[str, Any]],
) -> None:
    for item in objects("--namespace", "lab").values():
        assert item["metadata"]["namespace"] == "lab"
    assert not [value for key, value in leaves(objects()) if key == "namespace"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "Dnnbench"),
        ("--name", "a" * 41),
        ("--namespace", "-lab"),
        ("--image", "an image"),
        ("--image", ""),
        ("--cpu", "0"),
        ("--cpu", "1.5"),
        ("--memory", "4G"),
        ("--disk", "0Gi"),
    ],
)
def test_a_value_that_kubernetes_would_refuse_is_refused_with_its_option(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["manifest", option, value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {option}: expected " in err
    assert err.count("\n") == 1


def test_the_host_list_names_the_pods_and_their_addresses(
    printed: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "dnnbench.toml"
    path.write_text(printed("--list-hosts", "--nodes", "3", "--name", "lab"), encoding="utf-8")
    hosts = load(path, {}, {}, HostsChoice()).config.hosts
    assert [host.name for host in hosts] == ["lab-0", "lab-1", "lab-2"]
    assert hosts[2].data_address == "lab-2.lab"  # a name in the domain of the Service
    command = words_of(hosts[2].connect, hosts[2].name, "exec true")
    assert command == ["kubectl", "exec", "-i", "lab-2", "--", "sh", "-c", "exec true"]


def test_the_host_list_names_the_namespace(printed: Callable[..., str]) -> None:
    assert (
        printed("--list-hosts", "--namespace", "lab").count("kubectl exec -i -n lab {name}") == 12
    )


def test_a_file_is_written_whole(printed: Callable[..., str], tmp_path: Path) -> None:
    assert printed("-o", "hosts.json") == ""
    assert json.loads((tmp_path / "hosts.json").read_text(encoding="utf-8"))["kind"] == "List"


# --- the image -----------------------------------------------------------------------------------


def test_the_image_has_what_the_manifest_names() -> None:
    last_stage = CONTAINERFILE.rpartition("\nFROM ")[2]
    assert f"\nUSER {kubernetes.IMAGE_USER}:{kubernetes.IMAGE_USER}\n" in last_stage
    assert f"useradd --uid {kubernetes.IMAGE_USER} " in last_stage
    assert f"mkdir -m 1777 {kubernetes.SCRATCH}\n" in last_stage
    assert f"\nENV HOME={kubernetes.SCRATCH}/home " in last_stage
    assert 'ENTRYPOINT ["tini", "--"]' in last_stage  # so that `args` are the command
    assert f"COPY docs/container/{kubernetes.HOST_COMMAND} " in CONTAINERFILE
    assert "$HOME" + kubernetes.ENVIRONMENTS.removeprefix(f"{kubernetes.SCRATCH}/home") in START


def test_the_image_is_built_from_what_the_project_has() -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)$", CONTAINERFILE, re.MULTILINE)
    for line in re.findall(r"^COPY (.+)$", CONTAINERFILE, re.MULTILINE):
        *paths, _target = [word for word in line.split() if not word.startswith("--")]
        if line.startswith("--from="):
            assert line.partition(" ")[0].removeprefix("--from=") in stages
        else:
            assert all((PROJECT / path).exists() for path in paths), line


def test_the_image_has_the_versions_of_tensorflow_that_the_project_requires() -> None:
    """The build replaces the name of the package alone; its versions stay."""
    pattern, name = re.findall(r"sed -i 's/(.+?)/(.+?)/'", CONTAINERFILE)[0]
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    assert project.count(pattern) == 1
    assert name == pattern.replace("tensorflow", "tensorflow-cpu")
