"""TensorFlow 1's names on today's TensorFlow."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["tensorflow_1"]


class _TensorFlow1(ModuleType):
    """``tensorflow.compat.v1``, and behind it TensorFlow itself."""

    def __init__(self, real: ModuleType) -> None:
        super().__init__("tensorflow", "TensorFlow 1's names on today's TensorFlow.")
        self.__dict__.update(
            __path__=real.__path__,
            __file__=real.__file__,
            __spec__=real.__spec__,
            __loader__=real.__loader__,
            __version__=real.__version__,
            _real=real,
            contrib=_contrib(real.compat.v1),
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        real = self.__dict__["_real"]
        try:
            return getattr(real.compat.v1, name)
        except AttributeError:
            return getattr(real, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.__dict__["_real"].compat.v1)})


def tensorflow_1() -> ModuleType:
    """TensorFlow with its first version's behaviour: graphs and sessions.

    Its deprecation warnings, which a script of that time cannot heed, are left out.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    real = importlib.import_module("tensorflow")
    real.compat.v1.logging.set_verbosity(real.compat.v1.logging.ERROR)
    real.compat.v1.disable_v2_behavior()
    module = _TensorFlow1(real)
    sys.modules["tensorflow"] = module
    return module


def _contrib(v1: Any) -> SimpleNamespace:
    """What scripts for this service took from ``tf.contrib``."""
    return SimpleNamespace(
        util=SimpleNamespace(make_tensor_proto=v1.make_tensor_proto, make_ndarray=v1.make_ndarray)
    )
