"""The models of a service: one, or several whose packages take turns on the device."""

from __future__ import annotations

from collections.abc import Sequence

from fieldwave.errors import InputError, NotFoundError
from fieldwave.serving.predictor import Predictor
from fieldwave.serving.signature import quoted

__all__ = ["Models"]


class Models:
    """What predicts, by the model's name.

    Parameters:
        predictors: the first is meant where no name is said.

    Raises:
        InputError: two have one name.
    """

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        self.all = tuple(predictors)
        self.first = self.all[0]
        names = self._names()
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None:
            raise InputError(
                f"two packages are of model {twice!r}; serve one of them, or give the first another name"
            )

    @property
    def alone(self) -> bool:
        """Whether there is one model only."""
        return len(self.all) == 1

    @property
    def serving(self) -> bool:
        """Whether predictions of all of them are answered, as far as is known."""
        return all(predictor.serving for predictor in self.all)

    def of(self, name: str) -> Predictor:
        """The predictor of the model ``name``; the first if there is no name.

        Where there is one only it is that, whatever the name: whoever reads the request says what is wrong.

        Raises:
            NotFoundError: there is none of that name.
        """
        if not name or self.alone:
            return self.first
        # Names are asked for each time: another package may bring another name.
        names = self._names()
        if name not in names:
            listed = " and ".join(map(repr, names))
            raise NotFoundError(f"no model {quoted(name)} here; this service has {listed}")
        return self.all[names.index(name)]

    def _names(self) -> list[str]:
        return [predictor.model.signature.model for predictor in self.all]
