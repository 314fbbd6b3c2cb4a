"""``dnnbench manifest``: Kubernetes objects whose pods are hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
from msgspec import Meta

from dnnbench.cli.shared.options import checked_option, common_options, named_file, settings_options
from dnnbench.cli.shared.output import deliver
from dnnbench.hosts.kubernetes import Pods, host_entries, manifest
from dnnbench.settings.load import load

if TYPE_CHECKING:
    from dnnbench.cli.shared.printer import Printer

# The bound of the name leaves room for the number of a pod, and for the revision in a label.
_ObjectName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?\Z",
        description="at most 40 of a to z, 0 to 9 and dashes, such as dnnbench",
    ),
]
_Namespace = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z",
        description="at most 63 of a to z, 0 to 9 and dashes",
    ),
]
_Image = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-zA-Z0-9._/:@-]{0,499}\Z",
        description="an image, such as registry.example/dnnbench:0.1.0",
    ),
]
_Cores = Annotated[int, Meta(ge=1, le=1024)]
_Quantity = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)\Z", description="a size, such as 4Gi or 900Mi"),
]


@click.command("manifest")
@checked_option(
    "--image", _Image, "IMAGE", "Image of docs/container.  [default: dnnbench]", "dnnbench"
)
@checked_option(
    "--cpu", _Cores, "N", "Whole cores of each pod, which are its own.  [default: 1]", "1"
)
@checked_option("--memory", _Quantity, "SIZE", "Memory of each pod.  [default: 2Gi]", "2Gi")
@checked_option("--disk", _Quantity, "SIZE", "Disk of each pod.  [default: 4Gi]", "4Gi")
@checked_option(
    "--name", _ObjectName, "NAME", "Name of the objects.  [default: dnnbench]", "dnnbench"
)
@checked_option(
    "--namespace", _Namespace, "NAME", "Their namespace.  [default: that of kubectl's context]"
)
@click.option(
    "--list-hosts",
    "as_hosts",
    is_flag=True,
    help="Print the pods as [[hosts]] of dnnbench.toml instead.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write to a file. - is standard output.",
    callback=named_file,
)
@settings_options("manifest")
@common_options()
@click.pass_obj
def command(
    printer: Printer,
    *,
    image: str,
    cpu: int,
    memory: str,
    disk: str,
    name: str,
    namespace: str | None,
    as_hosts: bool,
    output: Path | None,
    settings: dict[str, object],
    config_path: Path | None,
) -> None:
    """Print Kubernetes objects whose pods are hosts.

    As many as the largest of --nodes, in JSON for `kubectl apply -f -`, with a network policy that
    admits only these pods to TensorFlow's ports. docs/kubernetes.md explains the image.
    """
    config = load(config_path, os.environ, settings).config
    pods = Pods(
        name=name,
        count=max(config.sweep.nodes),
        image=image,
        cores=cpu,
        memory=memory,
        disk=disk,
        ports=config.cluster.port_range,
        namespace=namespace,
    )
    text = host_entries(pods) if as_hosts else f"{json.dumps(manifest(pods), indent=2)}\n"
    deliver(printer, text, output)
