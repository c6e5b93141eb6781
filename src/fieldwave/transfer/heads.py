"""Heads trained elsewhere, as plain matrices: scikit-learn's linear classifiers, and small networks of torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError

__all__ = ["Dense", "Head", "head_of"]

_TOLERANCE = 1e-5
_ROWS = 1024


@dataclass(frozen=True)
class Dense:
    """``y = x @ weights + bias``, then a Relu where one follows.

    Attributes:
        weights: float64 [inputs, outputs].
        bias: float64 [outputs].
        relu: whether a Relu follows.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    relu: bool = False

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute it for [n, inputs]."""
        y = x @ self.weights + self.bias
        return np.maximum(y, 0) if self.relu else y


@dataclass(frozen=True)
class Head:
    """A classifier over features.

    Attributes:
        layers: from the features to one number for each class.
        probabilities: whether a Softmax over them gives the probabilities of the classes.
        classes: what the head calls its classes, in the order of its outputs; empty where it only counts them.
    """

    layers: tuple[Dense, ...]
    probabilities: bool
    classes: tuple[Any, ...] = ()

    @property
    def size(self) -> int:
        """How many classes."""
        return len(self.layers[-1].bias)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers before the Softmax for features [n, inputs]."""
        for layer in self.layers:
            x = layer(x)
        return x


def head_of(model: Any, features: int) -> Head:
    """What a trained classifier computes.

    Args:
        model: a classifier of scikit-learn whose ``decision_function`` is linear in the features
            (LogisticRegression, LinearSVC, SGDClassifier, RidgeClassifier, LinearDiscriminantAnalysis, ...),
            also at the end of a Pipeline of scalers and projections; or a torch Linear or Sequential of Linear,
            ReLU, BatchNorm1d, Dropout, Flatten, Identity and a Softmax.
        features: how many features it reads.

    Raises:
        ModelError: the head is something else, or reads another number of features.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        head = _torch_head(model)
    elif hasattr(model, "decision_function") and hasattr(model, "classes_"):
        head = _linear_head(model, features)
    else:
        raise ModelError(
            f"head {type(model).__name__} is no linear classifier and no torch module: use LogisticRegression, "
            "LinearSVC, or a torch Sequential"
        )
    found = head.layers[0].weights.shape[0]
    if found != features:
        raise ModelError(f"the head reads {found} features, the featurizer gives {features}")
    for layer in head.layers:
        if not (np.isfinite(layer.weights).all() and np.isfinite(layer.bias).all()):
            raise ModelError("the head holds NaN or infinity")
    return head


def _linear_head(model: Any, features: int) -> Head:
    """Read the matrix off the decision function: its value at zero, and at each unit vector.

    So a Pipeline of scalers and projections is folded whatever it consists of. That the function is linear is
    then checked on other points.
    """
    count = getattr(model, "n_features_in_", features)
    if count != features:
        raise ModelError(f"the head reads {count} features, the featurizer gives {features}")
    rng = np.random.default_rng(0)
    bias = _decisions(model, np.zeros((1, features)))[0]
    units = (np.eye(min(_ROWS, features - start), features, start) for start in range(0, features, _ROWS))
    weights = np.vstack([_decisions(model, rows) for rows in units]) - bias
    probes = rng.normal(size=(16, features)) * np.exp(rng.normal(size=(16, 1)))
    expected, found = _decisions(model, probes), probes @ weights + bias
    if np.abs(found - expected).max() > _TOLERANCE * (1 + np.abs(expected).max()):
        raise ModelError(
            f"head {type(model).__name__} is no linear function of the features: use LogisticRegression, "
            "LinearSVC, or a torch Sequential"
        )
    classes = tuple(np.asarray(model.classes_).tolist())
    if len(classes) == 2:  # one number, for the second class
        zero = np.zeros_like(bias)
        weights, bias = np.hstack([0 * weights, weights]), np.concatenate([zero, bias])
    head = Head((Dense(weights, bias),), False, classes)
    if not hasattr(model, "predict_proba"):
        return head
    small = probes / (1 + np.abs(expected).max())
    said, ours = model.predict_proba(small), _softmax(head(small))
    return replace(head, probabilities=bool(np.abs(said - ours).max() < _TOLERANCE))


def _decisions(model: Any, features: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(model.decision_function(features), np.float64)
    return values.reshape(len(features), -1)


def _softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _torch_head(model: Any) -> Head:
    layers: list[Dense] = []
    modules = list(_flat(model))
    probabilities = True
    for position, module in enumerate(modules):
        kind = type(module).__name__
        if kind in ("Dropout", "Flatten", "Identity"):
            continue
        if kind in ("Softmax", "LogSoftmax") and position == len(modules) - 1 and layers:
            continue
        if kind not in _LAYERS or (kind != "Linear" and not layers):
            raise ModelError(
                f"layer {position} of the head is a {kind}, which is not packed here; use Linear first, then "
                "Linear, ReLU, BatchNorm1d, Dropout, and a Softmax last"
            )
        _LAYERS[kind](layers, module)
    if not layers:
        raise ModelError("the head has no Linear layer")
    return Head(tuple(layers), probabilities)


def _flat(module: Any) -> Sequence[Any]:
    if type(module).__name__ != "Sequential":
        return [module]
    return [leaf for child in module.children() for leaf in _flat(child)]


def _linear(layers: list[Dense], module: Any) -> None:
    weights = _array(module.weight).T
    layers.append(Dense(weights, _array(module.bias) if module.bias is not None else np.zeros(weights.shape[1])))


def _relu(layers: list[Dense], module: Any) -> None:
    layers[-1] = replace(layers[-1], relu=True)


def _batch_norm(layers: list[Dense], module: Any) -> None:
    deviation = np.sqrt(_array(module.running_var) + module.eps)
    gain = (_array(module.weight) if module.weight is not None else 1.0) / deviation
    shift = (_array(module.bias) if module.bias is not None else 0.0) - _array(module.running_mean) * gain
    last = layers[-1]
    if last.relu:
        layers.append(Dense(np.diag(gain), np.asarray(shift)))
    else:
        layers[-1] = Dense(last.weights * gain, last.bias * gain + shift)


def _array(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)


_LAYERS: dict[str, Callable[[list[Dense], Any], None]] = {
    "BatchNorm1d": _batch_norm,
    "Linear": _linear,
    "ReLU": _relu,
}
