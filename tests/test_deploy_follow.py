"""An open client of a service on this machine learns of the replicas that come and go."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fieldwave
from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images


@pytest.mark.slow
def test_an_open_client_goes_on_while_its_service_grows_and_shrinks(
    digits: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(fieldwave.__file__).parents[1]))
    monkeypatch.setattr("fieldwave.client.spread._LEARN_SECONDS", 0.2)
    (tmp_path / "fieldwave.toml").touch()
    target = LocalTarget(Workspace(tmp_path))
    image = digit_png(digits_images().heldout_images[0])
    service = target.deploy(digits.path, "digits")
    try:
        with service.client() as client:
            expected = client.score_image(image)

            def until(replicas: int, change: Callable[[], object]) -> None:
                change()
                end = time.monotonic() + 60
                while len(client.connections.each) != replicas:
                    assert time.monotonic() < end, client.connections.target
                    assert np.array_equal(client.score_image(image), expected)
                for _ in range(6):
                    assert np.array_equal(client.score_image(image), expected)

            until(2, lambda: target.scale("digits", 2))
            until(1, lambda: target.scale("digits", 1))
    finally:
        target.delete("digits")
