"""A thousand connections that say nothing, a hundred messages that never end, and a good client beside them."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from fieldwave.client import PredictionClient
from tests.flood import Flooded
from tests.served import affine, tensor

BODY = json.dumps({"instances": tensor().tolist()})
RIGHT = affine(tensor()).tolist()


def ask(flooded: Flooded, times: int) -> None:
    """Good requests by each protocol; every one is answered, and right."""
    with PredictionClient("127.0.0.1", flooded.port) as client:
        connection = http.client.HTTPConnection("127.0.0.1", flooded.http_port, timeout=30)
        for _ in range(times):
            assert client.score_numpy_arrays({"images": tensor()}).tolist() == RIGHT
            connection.request("POST", "/v1/models/affine:predict", BODY)
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["predictions"]) == (200, RIGHT)
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_flood_takes_neither_the_memory_nor_the_places_of_others(protocol: str) -> None:
    with Flooded(receive_seconds=8.0) as flooded:
        ask(flooded, 20)
        quiet = flooded.megabytes()
        with flooded.flood(protocol, idle=1000, half=100) as sent:
            print(protocol, "quiet", quiet, sent)
            assert sum(sent["half"].values()) == 100
            assert sent["megabytes"] > 150  # it was a flood
            assert sent["most_megabytes"] < 2000
            ask(flooded, 100)
            end = time.monotonic() + 60
            # While they hold on: a thousand connections have some 80 kB each.
            while flooded.megabytes() > quiet + 200:
                assert time.monotonic() < end, f"{flooded.megabytes()} MB are kept"
                time.sleep(0.2)
            print("given back", flooded.megabytes(), "after", round(60 - end + time.monotonic(), 1))
            ask(flooded, 20)
        ask(flooded, 20)
