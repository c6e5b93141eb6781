"""Making ``import azureml...`` find our names, and ``import tensorflow`` those of TensorFlow 1, here and now."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from fieldwave.compat.legacy.addresses import answer_dead_addresses
from fieldwave.compat.legacy.tensorflow1 import tensorflow_1
from fieldwave.errors import MissingExtraError

__all__ = ["provide"]

_OURS = "fieldwave.compat.azureml"
_KERAS = "tf_keras.api._v1.keras"
"""Keras as TensorFlow 1 had it; its names are those of ``tf.compat.v1.keras``."""


def provide() -> None:
    """Provide the names; a second call does nothing. What was imported before stays what it was."""
    if any(isinstance(finder, _Azureml) for finder in sys.meta_path):
        return
    sys.meta_path[:0] = [_Azureml(), _TensorFlow()]
    # The Keras that builds TensorFlow-1 graphs, where it is installed.
    if importlib.util.find_spec("tf_keras") is not None:
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
        sys.meta_path.insert(0, _Keras())
    answer_dead_addresses()


class _Ready(importlib.abc.Loader):
    """Hands over a module that somebody else makes."""

    def __init__(self, make: Callable[[], ModuleType]) -> None:
        self._make = make

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = self._make()
        self._own = module.__spec__, module.__loader__  # the import system writes others over them
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__, module.__loader__ = self._own


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules by `maker`, which knows them by name."""

    def maker(self, name: str) -> Callable[[], ModuleType] | None:
        raise NotImplementedError

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        make = self.maker(name)
        return None if make is None else importlib.machinery.ModuleSpec(name, _Ready(make), is_package=True)


class _Azureml(_Finder):
    """``azureml.x`` is ``fieldwave.compat.azureml.x``."""

    def maker(self, name: str) -> Callable[[], ModuleType] | None:
        top, _, rest = name.partition(".")
        if top != "azureml":
            return None
        ours = f"{_OURS}.{rest}" if rest else _OURS
        if importlib.util.find_spec(ours) is None:
            raise ModuleNotFoundError(
                f"{name} is not provided; docs/legacy.md lists what is, and the native way of what is not",
                name=name,
            )
        return lambda: importlib.import_module(ours)


class _TensorFlow(_Finder):
    """The first ``import tensorflow`` gives TensorFlow 1's names."""

    def maker(self, name: str) -> Callable[[], ModuleType] | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        if importlib.util.find_spec("tensorflow") is None:
            raise MissingExtraError("a script that imports tensorflow", "legacy")
        # Not before the import system asks for the module: what is in sys.modules then, it would take instead.
        return tensorflow_1


class _Keras(_Finder):
    """``keras`` is the one that belongs to TensorFlow 1's graphs."""

    def maker(self, name: str) -> Callable[[], ModuleType] | None:
        top, _, rest = name.partition(".")
        if top != "keras":
            return None
        return lambda: importlib.import_module(f"{_KERAS}.{rest}" if rest else _KERAS)
