"""The service's certificate, and the authority of its clients' certificates, read again when they are renewed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from fieldwave.errors import InputError, NotFoundError, StorageError
from fieldwave.serving.reread import Reread

__all__ = ["server_context", "server_credentials"]


@dataclass(frozen=True)
class _Files:
    """What the files hold, PEM; the private key is in no ``repr``."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_ca: bytes | None = field(repr=False)


def server_credentials(certificate: Path, key: Path, client_ca: Path | None = None) -> grpc.ServerCredentials:
    """TLS for a server. Each handshake takes the files as they are then; files that are wrong change nothing.

    Parameters:
        certificate: of the service, followed by those of the authorities between it and the root; PEM.
        key: its private key, PEM, not encrypted.
        client_ca: authorities whose certificates clients must have (mutual TLS); None to ask for none.

    Raises:
        NotFoundError: a file is missing.
        InputError: a file does not hold what it should, or the key is not the certificate's.
        StorageError: a file cannot be read.
    """
    paths = (certificate, key) if client_ca is None else (certificate, key, client_ca)
    files = Reread("TLS files", paths, lambda: _read(certificate, key, client_ca))

    def renewed() -> Any:
        return _configuration(files.value) if files.refresh() else None

    return grpc.dynamic_ssl_server_credentials(
        _configuration(files.value), renewed, require_client_authentication=client_ca is not None
    )


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """The same for servers that speak TLS by the standard library.

    Raises:
        As `server_credentials`.
    """
    paths = (certificate, key) if client_ca is None else (certificate, key, client_ca)

    def read() -> ssl.SSLContext:
        _read(certificate, key, client_ca)
        return _context(certificate, key, client_ca)

    contexts = Reread("TLS files", paths, read)

    def renew(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        contexts.refresh()
        if connection.context is not contexts.value:
            connection.context = contexts.value

    # It is called in each handshake, also for clients that name no server.
    contexts.value.sni_callback = renew
    return contexts.value


def _context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password="")
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _configuration(files: _Files) -> Any:
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.client_ca)


def _read(certificate: Path, key: Path, client_ca: Path | None) -> _Files:
    files = _Files(_content(certificate), _content(key), None if client_ca is None else _content(client_ca))
    # gRPC would take anything, and fail at each handshake.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(
            certificate, key, password=""
        )  # else an encrypted key is asked for at the terminal
    except ssl.SSLError as error:
        raise InputError(_wrong_pair(certificate, key, files, error)) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise InputError(f"{client_ca} holds no certificates in PEM form") from None
    return files


def _wrong_pair(certificate: Path, key: Path, files: _Files, error: ssl.SSLError) -> str:
    if b"-----BEGIN CERTIFICATE-----" not in files.certificate:
        return f"{certificate} holds no certificate in PEM form"
    if b"PRIVATE KEY-----" not in files.key:
        return f"{key} holds no private key in PEM form"
    if b"ENCRYPTED" in files.key:
        return f"the private key {key} is encrypted; a service cannot ask for its password: write it out without"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the private key {key} is not that of the certificate {certificate}"
    return f"the certificate {certificate} and the private key {key} cannot be used: {error.reason or 'damaged'}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}; TLS needs it") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
