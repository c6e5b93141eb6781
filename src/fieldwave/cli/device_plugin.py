"""``fieldwave device-plugin``: run, manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="NPUs of a node as a resource of Kubernetes: the kubelet's device plugin API.",
    epilog=examples("fieldwave device-plugin manifest --image IMAGE | kubectl apply -f -"),
)

Resource = Annotated[str, typer.Option(help="The extended resource that stands for an NPU.")]
_RESOURCE = "fieldwave.dev/npu"


@app.command(epilog=examples("fieldwave device-plugin run"))
def run(
    resource: Resource = _RESOURCE,
    folder: Annotated[Path, typer.Option(help="The kubelet's folder of device plugins.")] = Path(
        "/var/lib/kubelet/device-plugins"
    ),
    pod_resources: Annotated[Path, typer.Option(help="Where the kubelet says which pod has what.")] = Path(
        "/var/lib/kubelet/pod-resources/kubelet.sock"
    ),
    root: Annotated[Path, typer.Option(help="Where the node's root folder is seen.")] = Path("/"),
    seconds: Annotated[float, typer.Option(help="How often devices and kubelet are looked at.")] = 1.0,
    quiet: Quiet = False,
) -> None:
    """Advertise this node's NPUs to its kubelet.

    Until Ctrl-C or SIGTERM. The NPUs are those of 'fieldwave devices'; where there is no board, the 'cpu' devices
    that the machine's file allows. The DaemonSet of 'manifest' runs this on every node.
    """
    import logging
    import signal
    import threading

    from fieldwave.compute.device_plugin import PluginOptions
    from fieldwave.compute.device_plugin import run as run_plugin

    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    run_plugin(PluginOptions(resource, folder, root, pod_resources, seconds), stopped)


@app.command(
    epilog=examples("fieldwave device-plugin manifest --image registry.example/digits@sha256:... > plugin.yaml")
)
def manifest(
    image: Annotated[str, typer.Option(help="Any image with Fieldwave in it, such as a service's.")],
    namespace: Annotated[str, typer.Option(help="Where the DaemonSet is put.")] = "kube-system",
    resource: Resource = _RESOURCE,
    node_selector: Annotated[
        list[str], typer.Option("--node-selector", metavar="KEY=VALUE", help="Only on nodes with this label.")
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Print the DaemonSet that runs the plugin on every node, for kubectl."""
    from fieldwave.compute.device_plugin import daemon_set
    from fieldwave.deploy.kubernetes import to_yaml

    labels = dict(label.partition("=")[::2] for label in node_selector)
    described = daemon_set(image, namespace=namespace, resource=resource, node_selector=labels)
    if as_json:
        output.to_json(described)
    else:
        output.data(to_yaml([described]).rstrip("\n"))
