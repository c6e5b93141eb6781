"""Asking a cluster what it offers."""

from __future__ import annotations

from typing import Any

from fieldwave.deploy.kubernetes.kinds import ALL
from fieldwave.deploy.kubernetes.offers import Offers, parse_version

__all__ = ["discover"]


def discover(client: Any) -> Offers:
    """What the server of a ``lightkube.Client`` offers, by its discovery API.

    Raises:
        httpx2.HTTPError: it does not answer, or refuses to.
    """
    from lightkube.config import client_adapter

    parameters = client_adapter.ConnectionParams(timeout=client._timeout)
    with client_adapter.Client(client.config, parameters) as http:
        version = http.get("version").raise_for_status().json()
        found = set()
        for api_version in {api_version for api_version, _ in ALL}:
            response = http.get(f"apis/{api_version}" if "/" in api_version else f"api/{api_version}")
            # Groups that it does not have are 404; some proxies in front of it say 403.
            if response.status_code in (403, 404):
                continue
            for one in response.raise_for_status().json()["resources"]:
                found.add(f"{api_version}/{one['kind']}")
    return Offers(parse_version(f"{version['major']}.{version['minor']}"), frozenset(found))
