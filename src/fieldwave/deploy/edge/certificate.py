"""A certificate for a service on a box, signed by itself.

Whoever deploys has a safe way to the box, ssh, and hands the certificate on by it: a client that trusts this one
alone needs no authority. RFC 5280; the names stand in subjectAltName (RFC 6125).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fieldwave.errors import MissingExtraError

__all__ = ["Certificate", "self_signed"]

_LIFETIME = timedelta(days=3650)
_CLOCKS = timedelta(days=2)  # clients' clocks may be behind


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def self_signed(names: Sequence[str]) -> Certificate:
    """A new key on the curve P-256, and a certificate of it for ten years, for these host names and addresses.

    Raises:
        MissingExtraError: the package cryptography is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise MissingExtraError("TLS on an edge box", "edge") from error
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    others = [
        x509.IPAddress(address) if (address := _address(name)) else x509.DNSName(name)
        for name in dict.fromkeys(names)
    ]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
