"""Where a service on this machine listens, and what protects it there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["HERE", "Exposure"]


@dataclass(frozen=True)
class Exposure:
    """Where a service on this machine listens, and what protects it there.

    Attributes:
        host: an address of this machine; 127.0.0.1 is for its own processes alone.
        tls_cert, tls_key: PEM files of the service's certificate and its private key, read again when they change.
        client_ca: PEM file of authorities: callers must have a certificate by one of them.
        ca: PEM file of what clients are to trust; ``tls_cert`` where it is not given, as for one signed by itself.
    """

    host: str = "127.0.0.1"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    ca: Path | None = None

    def files(self) -> dict[str, str]:
        """The paths, absolute; empty for none."""
        given = {"tls_cert": self.tls_cert, "tls_key": self.tls_key, "client_ca": self.client_ca}
        given["ca"] = self.ca or self.tls_cert
        return {name: str(Path(path).absolute()) if path else "" for name, path in given.items()}

    def check(self, *, keys: bool) -> None:
        """Let it pass if a service may be exposed so.

        Raises:
            InputError: beyond this machine it needs keys and TLS; or a file that belongs to another is missing.
        """
        from fieldwave.serving import ServeOptions

        folder = Path() if keys else None  # any will do here
        files = {"tls_cert": self.tls_cert, "tls_key": self.tls_key, "client_ca": self.client_ca}
        ServeOptions(package=Path(), host=self.host, keys=folder, **files)  # type: ignore[arg-type]


HERE = Exposure()
