"""Scoring with a service over gRPC."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from numpy.typing import ArrayLike

from fieldwave.client.address import Addresses
from fieldwave.client.answers import Outputs, Scores
from fieldwave.client.channels import BLOCKING, finish
from fieldwave.client.credentials import AccessToken
from fieldwave.client.inputs import Image, RawTensor
from fieldwave.client.metadata import ModelMetadata
from fieldwave.client.scoring import Scoring
from fieldwave.client.spread import Connections
from fieldwave.postprocess import Detection, Detector

__all__ = ["PredictionClient"]


class _Blocking(Scoring):
    """The client's logic, in the caller's thread."""

    _channels = BLOCKING


class PredictionClient:
    """A client of one service that speaks TensorFlow Serving's Predict: a Fieldwave service, or another.

    Parameters:
        address: host name or IP address, with or without ``:port``; several of them where the service has
            several replicas, over which the calls are spread. A function is asked for them, and again every 10 s
            and after a failure: so replicas may come and go.
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
        model: the name of the one that is meant, where the service has several; else it is the first.

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
        self._scoring = _Blocking(
            address,
            port,
            use_ssl,
            access_token,
            service_name,
            channel_shutdown_timeout,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            client_key=client_key,
            server_name=server_name,
            model=model,
        )

    @property
    def connections(self) -> Connections:
        """What it calls by, for tools that measure."""
        return self._scoring.connections

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
        return finish(self._scoring.score_file(path, input_name, outputs, timeout))

    def score_image(
        self,
        data: Image,
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        """Score one image, the bytes of a JPEG or PNG file.

        A single array comes without the batch dimension. Arrays in a list or a dict keep it, with size 1, as
        they did with the retired service's client: the SSD post-processing builds on it.
        """
        return finish(self._scoring.score_image(data, input_name, outputs, timeout))

    def score_images(
        self,
        images: Iterable[Image],
        input_name: str = "images",
        outputs: Outputs = None,
        timeout: float = 30.0,
        batch: int = 16,
    ) -> Scores:
        """Score any number of images, the bytes of JPEG or PNG files, in requests of ``batch`` of them.

        The arrays have all images in their first dimension, in order.

        Args:
            timeout: seconds for each request.
        """
        return finish(self._scoring.score_images(images, input_name, outputs, timeout, batch))

    def score_numpy_arrays(
        self, input_map: Mapping[str, ArrayLike | bytes], outputs: Outputs = None, timeout: float = 30.0
    ) -> Scores:
        """Score a batch: arrays by input name, float32 or uint8 [N, height, width, channels].

        Image files may be given as a list of their bytes.
        """
        return finish(self._scoring.score_numpy_arrays(input_map, outputs, timeout))

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
        return finish(self._scoring.detect_file(path, input_name, threshold, timeout))

    def detect_image(
        self,
        data: Image,
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
        return finish(self._scoring.detect_image(data, input_name, threshold, timeout))

    def score_tensors(
        self,
        input_map: Mapping[str, RawTensor],
        outputs: Outputs = None,
        timeout: float = 10.0,
    ) -> Scores:
        """Score raw tensors: ``{input name: (bytes, shape, dtype)}``.

        The bytes are little-endian and row-major; the dtype is numpy's, ``"string"`` or a number of TensorFlow's
        ``DataType`` (1 is float32, 7 is string). A string tensor has one element, the bytes.
        """
        return finish(self._scoring.score_tensors(input_map, outputs, timeout))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return when the service says that it is ready.

        Raises:
            ServiceError: it has not said so after ``timeout`` seconds.
        """
        finish(self._scoring.wait_until_ready(timeout))

    def metadata(self, timeout: float = 10.0) -> ModelMetadata:
        """The model's name and version, and its inputs and outputs."""
        return finish(self._scoring.metadata(timeout))

    def manifest(self, timeout: float = 10.0) -> Mapping[str, Any]:
        """The ``manifest.json`` of the service's package: labels, preprocessing, digests.

        It is asked for at most once a minute: a service may change to another package.

        Raises:
            TensorError: the service is none of Fieldwave's, and has no such thing.
        """
        return finish(self._scoring.manifest(timeout))

    def labels(self, timeout: float = 10.0) -> tuple[str, ...]:
        """The names of the classes, from the manifest; empty where it has none."""
        return finish(self._scoring.labels(timeout))

    def detector(self, timeout: float = 10.0) -> Detector | None:
        """How the outputs become objects, from the manifest; None where the network does not detect."""
        return finish(self._scoring.detector(timeout))

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        finish(self._scoring.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
