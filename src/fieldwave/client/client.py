"""Scoring with a service over gRPC."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fieldwave.client.address import is_loopback, targets_of
from fieldwave.client.answers import Scores, output_names, read_scores
from fieldwave.client.calls import call, wait_until_serving
from fieldwave.client.connection import Connection
from fieldwave.client.credentials import AccessToken, Bearer, Tls
from fieldwave.client.manifest import detector_of, labels_of, manifest_request, read_manifest
from fieldwave.client.metadata import ModelMetadata, metadata_request, read_metadata
from fieldwave.client.spread import Connections
from fieldwave.errors import InputError, NotFoundError, StorageError, TensorError
from fieldwave.postprocess import Detection, Detector, detect
from fieldwave.wire.dtypes import BY_ENUM, BY_NAME, STRING, WireType
from fieldwave.wire.methods import (
    GET_MODEL_METADATA,
    OUTPUT_NAMES_KEY,
    OUTPUT_NAMES_ONCE,
    PREDICT,
    ROUTE_KEY,
    ROUTE_PREFIX,
)
from fieldwave.wire.requests import encode_request

__all__ = ["PredictionClient"]

_log = logging.getLogger(__name__)

Outputs = str | Sequence[str] | None
_CONNECT_SECONDS, _CONNECT_SECONDS_WITH_OTHERS = 20.0, 2.0
_MANIFEST_SECONDS = 60.0


class PredictionClient:
    """A client of one service that speaks TensorFlow Serving's Predict: a Fieldwave service, or another.

    Parameters:
        address: host name or IP address, with or without ``:port``; several of them where the service has
            several replicas, over which the calls are spread.
        port: by default 443 with TLS and 80 without.
        use_ssl: TLS.
        access_token: one of the service's keys, or a token signed by one; sent as ``authorization: Bearer ...``.
            A function is asked at the first call, and again when the service refuses what it gave: so tokens are
            renewed and keys are replaced without a call that fails.
        service_name: sent as ``x-ms-aml-grpc-service-route: /api/v1/service/...``, by which a front end with
            several services behind it finds the one that is meant.
        channel_shutdown_timeout: a connection that was idle for so long is made anew.
        root_certificates: the certificates to trust instead of the system's, in PEM form.
        server_name: the name that the service's certificate has, where it is reached by another: through a tunnel.
        client_certificate, client_key: this client's own, in PEM form, for services that ask for it (mutual TLS).

    Every call has a deadline. Within it, a service that is busy or not available (it restarts, its device is
    being loaded) is tried again; other errors are raised at once. A client may be used from several threads.

    The scoring methods take the outputs' names in one of three ways: a name gives the array of that output, a
    list of names gives a list of arrays in that order, and None gives the array of the only output, or a dict of
    all by name where there are several. They raise

    * TensorError: the service refused an input or an output name, in its words;
    * ServiceError: the call failed; its ``code`` is the name of the gRPC status, such as ``UNAVAILABLE``.
    """

    def __init__(
        self,
        address: str | Sequence[str],
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
    ) -> None:
        targets = targets_of(address, port, use_ssl=use_ssl)
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
        self._manifest: Mapping[str, Any] | None = None
        self._manifest_at = 0.0
        bearer = Bearer(access_token)
        patience = _CONNECT_SECONDS if len(targets) == 1 else _CONNECT_SECONDS_WITH_OTHERS
        self._connection = Connections(
            [
                Connection(target, tls, channel_shutdown_timeout, tuple(metadata), patience, bearer)
                for target in targets
            ]
        )
        if access_token and tls is None and not all(map(is_loopback, targets)):
            _log.warning("the key for %s is sent in plain text; use TLS", self._connection.target)

    def score_file(
        self,
        path: str | os.PathLike[str],
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        """Score the image file at ``path``: `score_image` of its bytes.

        Raises:
            NotFoundError: there is no such file.
            StorageError: it cannot be read.
        """
        return self.score_image(_file(path), input_name, outputs, timeout)

    def score_image(
        self,
        data: bytes | bytearray | memoryview,
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        """Score one image, the bytes of a JPEG or PNG file.

        A single array comes without the batch dimension. Arrays in a list or a dict keep it, with size 1, as
        they did with the retired service's client: the SSD post-processing builds on it.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InputError(f"the image is a {type(data).__name__}; give the bytes of its file")
        scores = self.score_numpy_arrays({input_name: [bytes(data)]}, outputs, timeout)
        return scores[0] if isinstance(scores, np.ndarray) else scores

    def score_numpy_arrays(
        self, input_map: Mapping[str, ArrayLike | bytes], outputs: Outputs = None, timeout: float = 30.0
    ) -> Scores:
        """Score a batch: arrays by input name, float32 or uint8 [N, height, width, channels].

        Image files may be given as a list of their bytes.
        """
        data = encode_request(input_map, output_names(outputs))
        answer = call(self._connection, PREDICT, data, timeout)
        return read_scores(answer, outputs, self._connection.target)

    def detect_file(
        self,
        path: str | os.PathLike[str],
        input_name: str = "images",
        threshold: float | None = None,
        timeout: float = 10.0,
    ) -> list[Detection]:
        """The objects in the image file at ``path``: `detect_image` of its bytes.

        Raises:
            NotFoundError: there is no such file.
            StorageError: it cannot be read.
        """
        return self.detect_image(_file(path), input_name, threshold, timeout)

    def detect_image(
        self,
        data: bytes | bytearray | memoryview,
        input_name: str = "images",
        threshold: float | None = None,
        timeout: float = 10.0,
    ) -> list[Detection]:
        """The objects in one image, the bytes of a JPEG or PNG file; the likeliest first.

        The service is asked, at most once a minute, how its outputs are to be read. For a batch there are
        `score_numpy_arrays` and ``fieldwave.postprocess.detect``.

        Args:
            threshold: an object's probability is greater than this; None for what the package says.

        Raises:
            InputError: the service has no detection network, or the threshold is not from 0 to 1.
        """
        detector = self.detector(timeout)
        if detector is None:
            raise InputError(f"{self._connection.target} has no detection network; use score_image")
        if threshold is not None:
            detector = replace(detector, score_threshold=threshold)
        outputs = self.score_image(data, input_name, list(detector.outputs), timeout)
        return detect(outputs, detector, self.labels(timeout))[0]

    def score_tensors(
        self,
        input_map: Mapping[str, tuple[bytes, Sequence[int], int | DTypeLike]],
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        """Score raw tensors: ``{input name: (bytes, shape, dtype)}``.

        The bytes are little-endian and row-major; the dtype is numpy's, ``"string"`` or a number of TensorFlow's
        ``DataType`` (1 is float32, 7 is string). A string tensor has one element, the bytes.
        """
        arrays = {name: _raw_tensor(name, *tensor) for name, tensor in input_map.items()}
        return self.score_numpy_arrays(arrays, outputs, timeout)

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return when the service says that it is ready.

        Raises:
            ServiceError: it has not said so after ``timeout`` seconds.
        """
        wait_until_serving(self._connection, timeout)

    def metadata(self, timeout: float = 10.0) -> ModelMetadata:
        """The model's name and version, and its inputs and outputs."""
        answer = call(self._connection, GET_MODEL_METADATA, metadata_request(), timeout)
        return read_metadata(answer, self._connection.target)

    def manifest(self, timeout: float = 10.0) -> Mapping[str, Any]:
        """The ``manifest.json`` of the service's package: labels, preprocessing, digests.

        It is asked for at most once a minute: a service may change to another package.

        Raises:
            TensorError: the service is none of Fieldwave's, and has no such thing.
        """
        if self._manifest is None or time.monotonic() - self._manifest_at > _MANIFEST_SECONDS:
            answer = call(self._connection, GET_MODEL_METADATA, manifest_request(), timeout)
            self._manifest = read_manifest(answer, self._connection.target)
            self._manifest_at = time.monotonic()
        return self._manifest

    def labels(self, timeout: float = 10.0) -> tuple[str, ...]:
        """The names of the classes, from the manifest; empty where it has none."""
        return labels_of(self.manifest(timeout))

    def detector(self, timeout: float = 10.0) -> Detector | None:
        """How the outputs become objects, from the manifest; None where the network does not detect."""
        return detector_of(self.manifest(timeout), self._connection.target)

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _file(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no image {os.fspath(path)}; check the path") from None
    except OSError as error:
        raise StorageError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error


def _raw_tensor(name: str, data: bytes, shape: Sequence[int], dtype: int | DTypeLike) -> NDArray[Any]:
    wire_type = _wire_type(name, dtype)
    sizes = [int(size) for size in shape]
    if wire_type is STRING:
        if math.prod(sizes) != 1:
            raise TensorError(f"input {name!r}: a string tensor has one element here, but shape {sizes} does not")
        strings = np.empty(sizes, dtype=object)
        strings[...] = data
        return strings
    expected = math.prod(sizes) * wire_type.dtype.itemsize
    if min(sizes, default=0) < 0 or len(data) != expected:
        raise TensorError(
            f"input {name!r}: shape {sizes} of {wire_type.name} takes {expected} bytes, but {len(data)} are given"
        )
    return np.frombuffer(data, wire_type.dtype).reshape(sizes)


def _wire_type(name: str, dtype: int | DTypeLike) -> WireType:
    if isinstance(dtype, int):
        found = BY_ENUM.get(dtype)
    elif dtype == STRING.name:
        found = STRING
    else:
        try:
            found = BY_NAME.get(np.dtype(dtype).name)
        except TypeError:
            found = None
    if found is None:
        raise TensorError(f"input {name!r}: dtype {dtype!r} is not supported; use one of {', '.join(BY_NAME)}")
    return found
