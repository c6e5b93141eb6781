"""``azureml.accel.PredictionClient``, with the defects of the retired one mended and its quirks kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from numpy.typing import ArrayLike

from fieldwave.client import PredictionClient as Native
from fieldwave.compat.azureml.explanation import explain
from fieldwave.errors import FieldwaveError

if TYPE_CHECKING:
    from fieldwave.compat.azureml.core.webservice import Webservice

__all__ = ["PredictionClient", "client_from_service"]

Outputs = str | Sequence[str] | None


class PredictionClient:
    """A client of a service.

    Where ``service_name`` is a service of this workspace, its own address is taken: scripts derive theirs from
    ``scoring_uri``, which has no port.

    Parameters:
        address: host name or IP address.
        port: 443 with TLS and 80 without where it is not given.
        use_ssl: TLS.
        access_token: a key of the service.
        service_name: of the service.
        channel_shutdown_timeout: a connection that was idle for so long is made anew.

    Raises:
        ValueError: there is no address.
    """

    def __init__(
        self,
        address: str,
        port: int | None = None,
        use_ssl: bool = False,
        access_token: str = "",
        service_name: str = "",
        channel_shutdown_timeout: timedelta = timedelta(minutes=2),
    ) -> None:
        if address is None:
            raise ValueError("address")
        explain("PredictionClient(address, port, ...)", "service.client()")
        self._client = _own(service_name) or Native(
            address,
            port,
            use_ssl=use_ssl,
            access_token=access_token,
            service_name=service_name,
            channel_shutdown_timeout=channel_shutdown_timeout,
        )

    def score_file(
        self,
        path: str | os.PathLike[str],
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Any:
        """Score an image file.

        Returns:
            One output without its batch dimension; a list of outputs, each with it; where ``outputs`` is None, the
            only output, or a list of all.
        """
        explain("client.score_file(path, input_name, outputs)", "client.score_file(PATH)")
        return _listed(self._client.score_file(path, input_name, outputs, timeout=timeout))

    def score_numpy_arrays(self, input_map: Mapping[str, ArrayLike], outputs: Outputs = None) -> Any:
        """Score arrays, by input name."""
        explain("client.score_numpy_arrays(inputs)", "client.score_numpy_arrays(INPUTS)")
        return _listed(self._client.score_numpy_arrays(input_map, outputs))

    def score_tensors(self, input_map: Mapping[str, Any], outputs: Outputs = None, timeout: float = 10.0) -> Any:
        """Score raw tensors: (bytes, shape, number of the data type) by input name."""
        return _listed(self._client.score_tensors(input_map, outputs, timeout=timeout))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def client_from_service(webservice: Webservice) -> PredictionClient:
    """A client of a deployed service, with its first key where it asks for one."""
    explain("client_from_service(service)", "service.client()")
    place = urlparse(webservice.scoring_uri)
    secure = place.scheme == "https"
    token = webservice.get_keys()[0] if webservice.auth_enabled else ""
    return PredictionClient(
        place.netloc, 443 if secure else 80, use_ssl=secure, access_token=token, service_name=webservice.name
    )


def _listed(scores: Any) -> Any:
    """Several outputs that nobody named come in a list, as the retired client gave them."""
    return list(scores.values()) if isinstance(scores, dict) else scores


def _own(name: str) -> Native | None:
    """A client of the service of that name in this workspace, if there is one."""
    from fieldwave.compat.azureml.core.place import find_service

    with suppress(FieldwaveError):
        service = find_service(name) if name else None
        return service.client() if service else None
    return None
