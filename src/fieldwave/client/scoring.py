"""Scoring with a service over gRPC, written once: as coroutines over connections that block or are awaited."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fieldwave.client.address import Addresses, is_loopback, targets_of
from fieldwave.client.answers import Outputs, Scores, joined, output_names, read_scores
from fieldwave.client.calls import call, wait_until_serving
from fieldwave.client.channels import Channels
from fieldwave.client.connection import Connection
from fieldwave.client.credentials import AccessToken, Bearer, Tls
from fieldwave.client.inputs import Image, RawTensor, batches, image_bytes, raw_tensor, read_image
from fieldwave.client.manifest import detector_of, labels_of, read_manifest
from fieldwave.client.metadata import ModelMetadata, metadata_request, read_metadata
from fieldwave.client.spread import Connections
from fieldwave.errors import InputError
from fieldwave.postprocess import Detection, Detector, detect
from fieldwave.wire.methods import (
    GET_MODEL_METADATA,
    MANIFEST_FIELD,
    OUTPUT_NAMES_KEY,
    OUTPUT_NAMES_ONCE,
    PREDICT,
    ROUTE_KEY,
    ROUTE_PREFIX,
    SIGNATURE_FIELD,
)
from fieldwave.wire.requests import encode_request

__all__ = ["Scoring"]

_log = logging.getLogger(__name__)

_CONNECT_SECONDS, _CONNECT_SECONDS_WITH_OTHERS = 20.0, 2.0
_MANIFEST_SECONDS = 60.0


class Scoring:
    """What a client does; the methods are those of `PredictionClient`, where they are described.

    A subclass says how it waits.
    """

    _channels: ClassVar[Channels]

    def __init__(
        self,
        address: Addresses,
        port: int | None = None,
        use_ssl: bool = False,
        access_token: AccessToken = "",
        service_name: str = "",
        channel_shutdown_timeout: timedelta = timedelta(minutes=2),
        *,
        root_certificates: bytes | None = None,
        client_certificate: bytes | None = None,
        client_key: bytes | None = None,
        server_name: str = "",
        model: str = "",
    ) -> None:
        learn = (lambda: targets_of(address(), port, use_ssl=use_ssl)) if callable(address) else None
        targets = targets_of(address() if callable(address) else address, port, use_ssl=use_ssl)
        for name, value in (
            ("root_certificates are", root_certificates),
            ("client_certificate is", client_certificate),
        ):
            if value is not None and not use_ssl:
                raise InputError(f"{name} given without TLS; set use_ssl=True")
        tls = Tls(root_certificates, client_certificate, client_key, server_name) if use_ssl else None
        metadata = [(OUTPUT_NAMES_KEY, OUTPUT_NAMES_ONCE)]
        if service_name:
            metadata.append((ROUTE_KEY, ROUTE_PREFIX + service_name))
        bearer = Bearer(access_token)
        alone = len(targets) == 1 and learn is None
        patience = _CONNECT_SECONDS if alone else _CONNECT_SECONDS_WITH_OTHERS

        def connect(target: str) -> Connection:
            idle = channel_shutdown_timeout
            return Connection(target, tls, idle, tuple(metadata), patience, bearer, self._channels)

        self._connection = Connections([connect(target) for target in targets], learn, connect)
        if access_token and tls is None and not all(map(is_loopback, targets)):
            _log.warning("the key for %s is sent in plain text; use TLS", self._connection.target)
        self._model = model
        self._manifest: Mapping[str, Any] | None = None
        self._manifest_at = 0.0

    @property
    def connections(self) -> Connections:
        """What it calls by, for tools that measure."""
        return self._connection

    async def score_file(
        self,
        path: str | os.PathLike[str],
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        return await self.score_image(read_image(path), input_name, outputs, timeout)

    async def score_image(
        self,
        data: Image,
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        scores = await self.score_numpy_arrays({input_name: [image_bytes(data)]}, outputs, timeout)
        return scores[0] if isinstance(scores, np.ndarray) else scores

    async def score_images(
        self,
        images: Iterable[Image],
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 30.0,
        batch: int = 16,
    ) -> Scores:
        return joined(
            [
                await self.score_numpy_arrays({input_name: files}, outputs, timeout)
                for files in batches(images, batch)
            ]
        )

    async def score_numpy_arrays(
        self, input_map: Mapping[str, ArrayLike | bytes], outputs: Outputs = None, timeout: float = 30.0
    ) -> Scores:
        data = encode_request(input_map, output_names(outputs), self._model)
        answer = await call(self._connection, PREDICT, data, timeout)
        return read_scores(answer, outputs, self._connection.target)

    async def detect_file(
        self,
        path: str | os.PathLike[str],
        input_name: str = "images",
        threshold: float | None = None,
        timeout: float = 10.0,
    ) -> list[Detection]:
        return await self.detect_image(read_image(path), input_name, threshold, timeout)

    async def detect_image(
        self,
        data: Image,
        input_name: str = "images",
        threshold: float | None = None,
        timeout: float = 10.0,
    ) -> list[Detection]:
        detector = await self.detector(timeout)
        if detector is None:
            raise InputError(f"{self._connection.target} has no detection network; use score_image")
        if threshold is not None:
            detector = replace(detector, score_threshold=threshold)
        outputs = await self.score_image(data, input_name, list(detector.outputs), timeout)
        return detect(outputs, detector, await self.labels(timeout))[0]

    async def score_tensors(
        self,
        input_map: Mapping[str, RawTensor],
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        arrays = {name: raw_tensor(name, *tensor) for name, tensor in input_map.items()}
        return await self.score_numpy_arrays(arrays, outputs, timeout)

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        await wait_until_serving(self._connection, timeout)

    async def metadata(self, timeout: float = 10.0) -> ModelMetadata:
        answer = await call(
            self._connection, GET_MODEL_METADATA, metadata_request(SIGNATURE_FIELD, self._model), timeout
        )
        return read_metadata(answer, self._connection.target)

    async def manifest(self, timeout: float = 10.0) -> Mapping[str, Any]:
        if self._manifest is None or time.monotonic() - self._manifest_at > _MANIFEST_SECONDS:
            answer = await call(
                self._connection, GET_MODEL_METADATA, metadata_request(MANIFEST_FIELD, self._model), timeout
            )
            self._manifest = read_manifest(answer, self._connection.target)
            self._manifest_at = time.monotonic()
        return self._manifest

    async def labels(self, timeout: float = 10.0) -> tuple[str, ...]:
        return labels_of(await self.manifest(timeout))

    async def detector(self, timeout: float = 10.0) -> Detector | None:
        return detector_of(await self.manifest(timeout), self._connection.target)

    async def close(self) -> None:
        await self._connection.close()
