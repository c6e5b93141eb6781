from __future__ import annotations

import json
import re
from pathlib import Path

from fieldwave.conversion import Conversion
from fieldwave.serving import ServeOptions, Server
from fieldwave.serving.metrics import Metrics
from fieldwave.zoo import digit_png, digits_images
from tests.served import serving
from tests.test_serving_http import ask
from tests.test_serving_inference import tensor

TEXT = (Path(__file__).parents[1] / "docs" / "serving.md").read_text()


def test_every_metric_is_in_the_document_and_the_other_way_round() -> None:
    with serving(http_port=0) as server:
        ask(server, "/v1/models/affine:predict", {"instances": tensor().tolist()})
        text = ask(server, "/metrics")[1].decode()
    found = set(re.findall(r"^# TYPE (fieldwave_\w+)", text, re.MULTILINE))
    table = TEXT[TEXT.index("| metric |") : TEXT.index("What was refused")]
    named = set(re.findall(r"`(fieldwave_\w+)`", table))
    named |= {f"fieldwave_device{rest}" for rest in re.findall(r"`(_\w+)`", table)}
    # Of devices with a clock alone.
    assert named - found == {
        f"fieldwave_device_{name}_total" for name in ("cycles", "macs", "bytes_read", "bytes_written")
    }
    assert found <= named


def test_the_answer_in_the_document_is_the_service_s(digits: Conversion) -> None:
    (said,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (path,) = re.findall(r"localhost:8080(/fieldwave/\S+)'", TEXT)
    with Server(ServeOptions(package=digits.package, grpc_port=0, http_port=0)) as server:
        assert ask(server, path, digit_png(digits_images().heldout_images[0]))[:2] == (200, json.loads(said))


def test_a_series_of_metrics_begins_empty() -> None:
    metrics = Metrics()
    metrics.describe([("digits", "cpu", "sha256:0")])
    text = metrics.exposition()
    assert b'fieldwave_images_total{model="digits"} 0.0' in text
    assert b'fieldwave_stage_seconds_count{model="digits",stage="queue"} 0.0' in text
