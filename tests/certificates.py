"""An authority and the certificates that it signs, made by the library cryptography when a test runs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str = "tls") -> tuple[Path, Path]:
        """Write ``NAME.crt`` and ``NAME.key`` into ``folder``."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)
        return certificate, key


class Authority:
    """A root that signs certificates for ``localhost`` and 127.0.0.1, or for other names."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            _builder(self._name, self._name, self._key, timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(
        self, names: tuple[str, ...] = ("localhost", "127.0.0.1"), lifetime: timedelta = timedelta(days=1)
    ) -> Pair:
        """A certificate of a service that is called by ``names``; expired if ``lifetime`` is negative."""
        alternative = x509.SubjectAlternativeName([_alternative(name) for name in names])
        return self._leaf(names[0], ExtendedKeyUsageOID.SERVER_AUTH, lifetime, alternative)

    def client(self, name: str = "client") -> Pair:
        """A certificate of a client."""
        return self._leaf(name, ExtendedKeyUsageOID.CLIENT_AUTH, timedelta(days=1), None)

    def _leaf(
        self,
        name: str,
        usage: x509.ObjectIdentifier,
        lifetime: timedelta,
        alternative: x509.SubjectAlternativeName | None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self._name, key, lifetime).add_extension(x509.ExtendedKeyUsage([usage]), False)
        if alternative is not None:
            builder = builder.add_extension(alternative, False)
        signed = builder.sign(self._key, hashes.SHA256())
        return Pair(signed.public_bytes(serialization.Encoding.PEM), private(key))


def private(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """PKCS 8, PEM, encrypted if there is a password."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def encrypted(pair: Pair, password: bytes) -> Pair:
    """The same pair with the key encrypted."""
    key = serialization.load_pem_private_key(pair.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Pair(pair.certificate, private(key, password))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + lifetime)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
