"""What an NPU counts, as a service exports it."""

from __future__ import annotations

from fieldwave.devices import Counters
from fieldwave.serving.metrics import Metrics


def test_the_counters_of_an_npu_are_exported_and_those_that_are_missing_are_not() -> None:
    for counters, expected in (
        (Counters(3, 0.5), {}),
        (
            Counters(3, 0.5, 7, 8, 256, 9, 10),
            {"cycles": 7.0, "macs": 8.0, "bytes_read": 9.0, "bytes_written": 10.0},
        ),
    ):
        metrics = Metrics()
        metrics.watch(in_hand=lambda: 0, waiting=lambda: 0, counters=lambda found=counters: found)  # type: ignore[misc]
        lines = [line.split() for line in metrics.exposition().decode().splitlines() if not line.startswith("#")]
        found = {name: float(value) for name, value in lines if name.startswith("fieldwave_device_")}
        known = {"images": 3.0, "busy_seconds": 0.5, **expected}
        assert found == {"fieldwave_device_healthy": 0.0} | {
            f"fieldwave_device_{name}_total": value for name, value in known.items()
        }
