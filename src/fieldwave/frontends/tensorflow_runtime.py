"""TensorFlow, imported when it is needed, and quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

from fieldwave.errors import MissingExtraError

__all__ = ["quiet_tensorflow"]


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[Any]:
    """The ``tensorflow`` module; its notes and warnings, and tf2onnx's, are held back meanwhile.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # One order of summation on every machine, and no line about it on the screen.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorflow
        except ImportError as error:
            raise MissingExtraError("reading TensorFlow models", "tensorflow") from error
        loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield tensorflow
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
