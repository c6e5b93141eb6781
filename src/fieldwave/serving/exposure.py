"""Whether others can reach a service, and what protects it then."""

from __future__ import annotations

import logging

from fieldwave.errors import InputError
from fieldwave.serving.listen import is_loopback

__all__ = ["check_exposure", "warn_if_exposed"]

_log = logging.getLogger(__name__)


def check_exposure(host: str, *, keys: bool, tls: bool, insecure: bool) -> None:
    """Refuse to be reached from other machines without keys and TLS.

    Raises:
        InputError: ``host`` is not loopback, one of them is missing, and ``insecure`` is not said.
    """
    if is_loopback(host) or insecure or (keys and tls):
        return
    options = [*([] if keys else ["--keys FOLDER"]), *([] if tls else ["--tls-cert FILE", "--tls-key FILE"])]
    raise InputError(
        f"listening on {host} lets other machines in, but the service has {_missing(keys=keys, tls=tls)}; "
        f"give {' '.join(options)}, listen on 127.0.0.1, or type --insecure where a network that you trust "
        "is all that reaches it"
    )


def warn_if_exposed(host: str, *, keys: bool, tls: bool) -> None:
    """Log what anybody can do who reaches the service from another machine."""
    if is_loopback(host) or (keys and tls):
        return
    danger = (
        "whoever is on the way can read keys, requests and answers"
        if keys
        else "whoever reaches it can use the service"
    )
    _log.warning("listening on %s with %s: %s", host, _missing(keys=keys, tls=tls), danger)


def _missing(*, keys: bool, tls: bool) -> str:
    return " and ".join([*([] if keys else ["no keys"]), *([] if tls else ["no TLS"])])
