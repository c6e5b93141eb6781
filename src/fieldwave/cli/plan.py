"""``fieldwave plan``: how many devices, and of which kind, a load needs."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.access import Access, Ca, ClientCert, ClientKey, KeyFile, TlsOption
from fieldwave.cli.examples import examples
from fieldwave.cli.network import read_network
from fieldwave.cli.options import Json, Quiet
from fieldwave.errors import InputError, ModelError

if TYPE_CHECKING:
    from fieldwave.cli.network import Network
    from fieldwave.compute import ComputeStatus
    from fieldwave.plan import DeviceKind, Plan
    from fieldwave.plan.costs import Costs

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(us|ms|s)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1e-3}
_DEFAULT_NPUS = ("kv260", "zcu104", "arria10-1150", "u250")


@app.command(
    epilog=examples(
        "fieldwave plan rn50.zip --rate 500 --p99 10ms",
        "fieldwave plan rn50.zip --rate 500 --p99 10ms --compute lab --npu zcu104",
        "fieldwave plan resnet50:torchvision --rate 100000 --p99 20ms --send pixels --json",
        "fieldwave plan rn50.zip --rate 40 --p99 100ms --npu cpu --service rn50",
    )
)
def plan(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A package, a quantized .onnx file, or a network of the zoo."),
    ],
    rate: Annotated[float, typer.Option(help="Images a second, of all callers together.", metavar="R")],
    p99: Annotated[str, typer.Option(help="What 99 of 100 callers may wait: 10ms, 0.5s.", metavar="TIME")],
    compute: Annotated[
        str, typer.Option(help="Where it is to run: says whether it has so many.", metavar="NAME")
    ] = "",
    npu: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Kinds of devices, or 'cpu' for this machine's processor; else {', '.join(_DEFAULT_NPUS)}.",
            metavar="NAME",
        ),
    ] = None,
    clock: Annotated[
        float | None, typer.Option(help="Of the NPU; else what its part is planned with.", metavar="MHZ", min=1.0)
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(help="Of its memory; else its board's.", metavar="GB/S", min=0.001)
    ] = None,
    send: Annotated[str, typer.Option(help="What callers send: jpeg, pixels or tensor.")] = "jpeg",
    service: Annotated[
        str,
        typer.Option(help="A running service, name or HOST:PORT, whose own decoding times count.", metavar="NAME"),
    ] = "",
    capacity: Annotated[int, typer.Option(help="Requests in hand before a device.", min=1)] = 8,
    cores: Annotated[int, typer.Option(help="Cores that decode before a device.", min=1)] = 2,
    clients: Annotated[int, typer.Option(help="Programs that call.", min=1)] = 8,
    busy: Annotated[float, typer.Option(help="The most of its time that a device may compute, 0 to 1.")] = 0.8,
    key_file: KeyFile = None,
    tls: TlsOption = False,
    ca: Ca = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how many devices hold a latency at a rate, for each kind of device.

    The time on a device is estimated for NPUs, measured for cpu; the waiting is simulated: callers who come
    independently, clients that go round, services that decode, queue and refuse as they do.
    """
    from fieldwave.deploy.target import MOST_REPLICAS
    from fieldwave.plan import BETWEEN_RUNS, Profile, devices_for

    promise = _seconds(p99)
    if not rate > 0:
        raise InputError(f"rate is {rate:g}; give more than 0 images a second")
    access = Access(key_file, tls, ca, client_cert, client_key)
    found: list[tuple[DeviceKind, Plan]] = []
    refused: dict[str, str] = {}
    with output.progress() as progress:
        progress(f"reading {model}", 0.0)
        network = read_network(model, zoo=True)
        costs = _costs(send, service, access)
        status = _status(compute) if compute else None
        names = tuple(dict.fromkeys(npu or _DEFAULT_NPUS))
        for number, name in enumerate(names):
            progress(f"planning with {name}", number / len(names))
            try:
                kind = _kind(network, name, clock, bandwidth)
            except ModelError as error:
                refused[name] = str(error)
                continue
            profile = Profile.of(
                decode=costs.decode, device=kind.seconds, encode=costs.encode, outside=costs.outside
            )
            found.append(
                (
                    kind,
                    devices_for(
                        profile,
                        rate,
                        promise,
                        busy=busy,
                        capacity=capacity,
                        cores=cores,
                        clients=clients,
                        between=BETWEEN_RUNS,
                    ),
                )
            )
    if as_json:
        output.to_json(
            {
                "network": network.name,
                "rate": rate,
                "p99_ms": 1e3 * promise,
                "costs_ms": {name: 1e3 * value for name, value in asdict(costs).items()},
                "plans": [_facts(kind, one) for kind, one in found],
                "unfit": refused,
                "compute": None if status is None else {"name": compute, **_places(status)},
            }
        )
        return
    output.table(
        ["DEVICE", "MS AN IMAGE", "DEVICES", "BUSY", "P50 MS", "P99 MS", "REFUSED"],
        [_row(kind, one) for kind, one in found],
    )
    _remarks(found, refused, costs, promise)
    if status is not None:
        output.data(_verdict(compute, status, found))
    fit = [(kind, one) for kind, one in found if 0 < one.devices <= MOST_REPLICAS]
    if fit:
        kind, one = min(fit, key=lambda pair: pair[1].devices)
        where = f" --on {compute}" if compute else ""
        package = model if network.package else "rn50.zip"
        output.hint(f"fieldwave services deploy {package} --replicas {one.devices}{where}")


def _seconds(text: str) -> float:
    found = _TIME.fullmatch(text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not seconds > 0:
        raise InputError(f"--p99 is {text!r}; give a time such as 10ms or 0.5s")
    return seconds


def _costs(send: str, service: str, access: Access) -> Costs:
    """Of the service's process: what was measured once, or what a running service says now."""
    from fieldwave.plan import process_costs

    if not service:
        return process_costs(send)
    import statistics

    from fieldwave.bench import OUTSIDE, prepare, sample_stages
    from fieldwave.cli.bench import client_of
    from fieldwave.plan.costs import Costs

    with client_of(service, access) as client:
        each = client.connections.each
        samples = sample_stages(each, prepare(each[0]))
    return Costs(*(statistics.median(samples[stage]) for stage in ("decode", "encode", OUTSIDE)))


def _kind(network: Network, name: str, clock: float | None, bandwidth: float | None) -> DeviceKind:
    from fieldwave.npu.parts import PARTS
    from fieldwave.plan import cpu_kind, npu_kind

    if name == "cpu":
        return cpu_kind(_package(network))
    part = PARTS.get(name)
    if part is None and (clock is None or bandwidth is None):
        raise InputError(f"{name} is no part with a clock and a memory; give --clock and --bandwidth")
    megahertz = clock or (part.megahertz if part else 0.0)
    return npu_kind(network.graph, name, megahertz, bandwidth or (part.bandwidth if part else 0.0))


def _package(network: Network) -> Any:
    if network.package is None:
        raise InputError(f"{network.name} is no package: cpu is measured, which takes weights")
    return network.package


def _status(name: str) -> ComputeStatus:
    from fieldwave.compute import Computes

    return Computes().status(name)


def _facts(kind: DeviceKind, one: Plan) -> dict[str, Any]:
    outcome = one.outcome
    return {
        "device": kind.name,
        "source": kind.source,
        "clock_mhz": kind.megahertz,
        "bandwidth_gb_per_s": kind.bandwidth,
        "milliseconds": 1e3 * kind.mean,
        "host_milliseconds": 1e3 * kind.host_seconds,
        "devices": one.devices,
        "reason": one.reason,
        "busy": outcome.busy,
        "p50_ms": 1e3 * outcome.p50,
        "p99_ms": 1e3 * outcome.p99,
        "refused": outcome.refused,
    }


def _row(kind: DeviceKind, one: Plan) -> list[str]:
    if not one.devices:
        return [kind.name, f"{1e3 * kind.mean:.3f}", "none", "-", "-", "-", "-"]
    outcome = one.outcome
    return [
        kind.name,
        f"{1e3 * kind.mean:.3f}",
        f"{one.devices:,}",
        f"{outcome.busy:.0%}",
        f"{1e3 * outcome.p50:.2f}",
        f"{1e3 * outcome.p99:.2f}",
        f"{outcome.refused:.2%}",
    ]


def _remarks(found: list[tuple[DeviceKind, Plan]], refused: dict[str, str], costs: Costs, promise: float) -> None:
    for kind, one in found:
        if one.reason:
            output.note(f"{kind.name}: not within {1e3 * promise:g} ms: {one.reason}")
    for name, reason in refused.items():
        output.note(f"{name}: {reason}")
    parts = ", ".join(f"{name} {1e3 * value:.2f}" for name, value in asdict(costs).items())
    output.note(f"besides the device, ms a request: {parts}")


def _places(status: ComputeStatus) -> dict[str, int | None]:
    npus = status.npus
    return {"npus": npus.allocatable if npus else None, "free": npus.free if npus else None}


def _verdict(compute: str, status: ComputeStatus, found: list[tuple[DeviceKind, Plan]]) -> str:
    if status.state != "Succeeded":
        return f"{compute} is {status.state}: {'; '.join(status.errors) or 'nobody says why'}"
    if status.npus is None:
        return f"{compute} does not say how many NPUs it has"
    needed = min((one.devices for kind, one in found if one.devices and kind.name != "cpu"), default=0)
    have = f"{compute} has {status.npus.allocatable:,} NPUs, {status.npus.free} free"
    if not needed:
        return have
    return f"{have}: {'enough' if status.npus.free >= needed else 'too few'} for {needed:,}"
