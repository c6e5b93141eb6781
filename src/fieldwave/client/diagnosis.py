"""Why two sides cannot talk: gRPC says of all of it that the service is not available.

The handshake is tried once more with Python's ssl, which knows the reason. It sends no request, no key and no
certificate.
"""

from __future__ import annotations

import socket
import ssl

from fieldwave.client.credentials import Tls

__all__ = ["diagnose"]

_SIGNS = ("ocket closed", "andshake", "erification", "reset by peer", "roken pipe")
_LEAST, _SECONDS = 0.05, 1.0
_EXPIRED, _NOT_YET_VALID, _OTHER_NAMES = 10, 9, (62, 63, 64)  # X509_V_ERR_* of OpenSSL
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def diagnose(target: str, tls: Tls | None, said: str, timeout: float) -> str:
    """Why ``target`` cannot be talked to, and what to do; empty where it is not the fault of either side's TLS.

    Parameters:
        target: ``host:port``.
        tls: what the client was set up with; None for plain text.
        said: gRPC's words. Those that have nothing to do with TLS are not looked into.
        timeout: seconds that an attempt may take, at most one.
    """
    if not any(sign in said for sign in _SIGNS):
        return ""
    timeout = min(max(timeout, _LEAST), _SECONDS)
    try:
        return _in_plain_text(target, timeout) if tls is None else _with_tls(target, tls, timeout)
    except OSError:
        return ""


def _in_plain_text(target: str, timeout: float) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it matters whether TLS is spoken, not by whom
    with _connected(target, timeout) as connection, _secured(context, connection):
        return f"{target} speaks TLS; call it with TLS: use_ssl=True, or --tls"


def _with_tls(target: str, tls: Tls, timeout: float) -> str:
    context = ssl.create_default_context(cadata=None if tls.roots is None else tls.roots.decode("ascii"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # from Python 3.13 on; gRPC does not ask for so much
    context.set_alpn_protocols(["h2"])
    try:
        # A service that wants certificates hangs up on us here. One that stops does so too, but not twice.
        name = tls.name or _host(target)
        if not (_hangs_up(context, target, name, timeout) and _hangs_up(context, target, name, timeout)):
            return ""
    except ssl.SSLCertVerificationError as error:
        return _certificate(target, tls.name or _host(target), error.verify_code)
    except ssl.SSLError as error:
        if error.reason in _NO_TLS:
            return f"{target} does not speak TLS; call it without: leave out use_ssl, or --tls"
        return ""
    if tls.certificate is None:
        return (
            f"{target} wants a certificate of its clients; give client_certificate and client_key, or "
            "--client-cert and --client-key"
        )
    return f"{target} does not accept this client's certificate; ask whoever runs it which authority must sign it"


def _hangs_up(context: ssl.SSLContext, target: str, name: str, timeout: float) -> bool:
    """Whether a service ends the connection after the handshake, in which a client shows its certificate last.

    A service of HTTP/2 would speak first (RFC 9113, 3.4).
    """
    with (
        _connected(target, timeout) as connection,
        _secured(context, connection, name) as secured,
    ):
        try:
            return not secured.recv(1)
        except ssl.SSLError as error:  # most services say why (RFC 8446, 6.2), gRPC's do not
            return "CERTIFICATE_REQUIRED" in (error.reason or "")


def _secured(context: ssl.SSLContext, connection: socket.socket, name: str | None = None) -> ssl.SSLSocket:
    connection.getpeername()  # of one that was reset meanwhile, the standard library leaves a socket open
    return context.wrap_socket(connection, server_hostname=name)


def _certificate(target: str, name: str, code: int) -> str:
    if code == _EXPIRED:
        return f"{target} has a certificate that has expired; whoever runs it must renew it"
    if code == _NOT_YET_VALID:
        return f"{target} has a certificate that is not valid yet; check the clocks on both sides"
    if code in _OTHER_NAMES:
        return f"{target} has a certificate for other names than {name}; call it by a name that is in there"
    return (
        f"{target} has a certificate that nobody has signed whom this client trusts; give the certificate of its "
        "authority: root_certificates, or --ca"
    )


def _connected(target: str, timeout: float) -> socket.socket:
    return socket.create_connection((_host(target), int(target.rpartition(":")[2])), timeout)


def _host(target: str) -> str:
    return target.rpartition(":")[0].strip("[]")
