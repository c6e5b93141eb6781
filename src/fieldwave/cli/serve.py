"""``fieldwave serve``: a package served by this very process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Quiet
from fieldwave.leases import WhenBusy

if TYPE_CHECKING:
    from fieldwave.serving import ServeOptions, Server

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}
"""Where to reach a service from here that listens on every address."""


def _limit(variable: str, text: str) -> Any:
    return typer.Option(envvar=variable, rich_help_panel="Limits", help=text)


@app.command(
    epilog=examples(
        "fieldwave serve rn50.zip --grpc-port 50051 --http-port 8080",
        "fieldwave keys create keys",
        "fieldwave serve rn50.zip --host 0.0.0.0 --keys keys --tls-cert tls.crt --tls-key tls.key",
    )
)
def serve(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="What 'fieldwave convert' wrote.")],
    grpc_port: Annotated[
        int, typer.Option(envvar="FIELDWAVE_GRPC_PORT", help="Where to listen; 0 for a free port.")
    ] = 50051,
    host: Annotated[str, typer.Option(envvar="FIELDWAVE_HOST", help="Address to listen on.")] = "127.0.0.1",
    http_port: Annotated[
        int | None,
        typer.Option(envvar="FIELDWAVE_HTTP_PORT", help="A port for a page, REST, metrics, health over HTTP."),
    ] = None,
    page: Annotated[
        bool,
        typer.Option("--page/--no-page", envvar="FIELDWAVE_PAGE", help="A page at the HTTP port to try it on."),
    ] = True,
    socket: Annotated[
        Path | None,
        typer.Option(
            envvar="FIELDWAVE_SOCKET", metavar="FILE", help="A Unix socket to listen on as well, for this user."
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="FIELDWAVE_ALSO",
            metavar="PACKAGE",
            help="Another package that takes turns on the device; repeat.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(envvar="FIELDWAVE_DEVICE", help="What computes: cpu, rtl, rtl:NPU, board, board:NAME."),
    ] = "cpu",
    name: Annotated[
        str, typer.Option(envvar="FIELDWAVE_NAME", help="The model's name; the network's if not given.")
    ] = "",
    when_busy: Annotated[
        WhenBusy,
        typer.Option(
            envvar="FIELDWAVE_WHEN_BUSY",
            help="When others hold the NPUs: refuse, wait for one, or replace a service.",
        ),
    ] = "refuse",
    workers: Annotated[
        int, typer.Option(envvar="FIELDWAVE_WORKERS", help="Predictions in hand at once; as many again wait.")
    ] = 4,
    keys: Annotated[
        Path | None,
        typer.Option(envvar="FIELDWAVE_KEYS", metavar="FOLDER", help="The keys that open the service."),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(envvar="FIELDWAVE_TLS_CERT", metavar="FILE", help="TLS: the service's certificate, PEM."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(envvar="FIELDWAVE_TLS_KEY", metavar="FILE", help="TLS: its private key, PEM."),
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="FIELDWAVE_CLIENT_CA",
            metavar="FILE",
            help="Mutual TLS: who signs the certificates that clients must have, PEM.",
        ),
    ] = None,
    probe_port: Annotated[
        int | None,
        typer.Option(
            envvar="FIELDWAVE_PROBE_PORT", help="A second port for health checks alone, without keys and TLS."
        ),
    ] = None,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", envvar="FIELDWAVE_LOG_REQUESTS", help="Log a line for each answer.")
    ] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", envvar="FIELDWAVE_LOG_JSON", help="Log in JSON, for programs.")
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="FIELDWAVE_INSECURE",
            help="Let other machines reach it without keys or without TLS.",
        ),
    ] = False,
    max_batch: Annotated[int, _limit("FIELDWAVE_MAX_BATCH", "Images in one request.")] = 64,
    max_message_bytes: Annotated[int, _limit("FIELDWAVE_MAX_MESSAGE_BYTES", "Bytes in one request.")] = 40 << 20,
    receive_seconds: Annotated[
        float, _limit("FIELDWAVE_RECEIVE_SECONDS", "How long a request may take to arrive.")
    ] = 30.0,
    max_connection_age_seconds: Annotated[
        float,
        _limit("FIELDWAVE_MAX_CONNECTION_AGE_SECONDS", "How long a connection lasts, more or less."),
    ] = 300.0,
    device_seconds: Annotated[
        float,
        _limit(
            "FIELDWAVE_DEVICE_SECONDS", "How much longer than 20 times as usual the device may take for a run."
        ),
    ] = 5.0,
    hung_seconds: Annotated[
        float,
        _limit("FIELDWAVE_HUNG_SECONDS", "How long the device may stay hung until the service ends."),
    ] = 30.0,
    recovery_seconds: Annotated[
        float, _limit("FIELDWAVE_RECOVERY_SECONDS", "How often a device that failed is tried again.")
    ] = 1.0,
    grace_seconds: Annotated[
        float, _limit("FIELDWAVE_GRACE_SECONDS", "How long requests in hand may take at the end.")
    ] = 10.0,
    quiet: Quiet = False,
) -> None:
    """Serve a package in the foreground.

    Until Ctrl-C or SIGTERM; requests in hand are finished first.

    Other machines can reach it with keys and TLS only; both are read again when their files change.

    For one that outlives the shell and is restarted when it dies: [cyan]fieldwave services deploy[/cyan].
    """
    from fieldwave.serving import ServeOptions
    from fieldwave.serving import serve as serve_package

    def waiting(reason: str) -> None:
        output.note(f"waiting for an NPU: {reason}")

    def ready(server: Server) -> None:
        output.note(f"serving {package} on {_bracketed(host)}:{server.port}, device {device}{options.protection}")
        near = _bracketed(_LOOPBACK.get(host, host))
        if page and server.http_port:
            scheme = "http" if tls_cert is None else "https"
            output.note(f"page: {scheme}://{near}:{server.http_port}/")
        output.hint(f"fieldwave predict {near}:{server.port} IMAGE{_entry(options)}")

    options = ServeOptions(
        package=package,
        name=name,
        also=tuple(also or ()),
        device=device,
        when_busy=when_busy,
        host=host,
        grpc_port=grpc_port,
        socket=socket,
        http_port=http_port,
        page=page,
        workers=workers,
        keys=keys,
        tls_cert=tls_cert,
        tls_key=tls_key,
        client_ca=client_ca,
        probe_port=probe_port,
        log_requests=log_requests,
        log_json=log_json,
        insecure=insecure,
        max_batch=max_batch,
        max_message_bytes=max_message_bytes,
        receive_seconds=receive_seconds,
        max_connection_age_seconds=max_connection_age_seconds,
        device_seconds=device_seconds,
        hung_seconds=hung_seconds,
        recovery_seconds=recovery_seconds,
        grace_seconds=grace_seconds,
    )
    serve_package(options, ready=ready, waiting=waiting)


def _entry(options: ServeOptions) -> str:
    """What whoever calls the service has to add."""
    parts = [] if options.keys is None else [f"--key-file {options.keys}/primary"]
    parts += [] if options.tls_cert is None else ["--tls"]
    parts += [] if options.client_ca is None else ["--client-cert FILE --client-key FILE"]
    return "".join(f" {part}" for part in parts)


def _bracketed(host: str) -> str:
    """An IPv6 address as it stands before a port (RFC 3986)."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
