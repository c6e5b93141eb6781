"""The weight stream: what the array consumes, in the order in which it does.

For every descriptor (see ``docs/isa.md``)::

    table                              # operations with a look-up: 256 bytes
    scales                             # operations with a scale-shift: one record per input channel
    for tile:
      parameters                       # CONV, SUM: one record per output channel
      for block:                       # only where the weights are repeated, else once
        for step: tile of weights      # CONV: [output lane][input lane] int8
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Operation, Prescale
from fieldwave.compiler.tile import Run, Tiling
from fieldwave.npu import Configuration
from fieldwave.npu.isa import PARAMETER, SCALE

__all__ = ["scale_beats", "stream"]

_RECORD = np.dtype(
    [("bias", "<i4"), ("scale", "<f4"), ("zero", "i1"), ("low", "i1"), ("high", "i1"), ("reserved", "u1")]
)
assert _RECORD.itemsize == PARAMETER.size and set(PARAMETER.positions) == set(_RECORD.names or ())


_SCALE = np.dtype([("bias", "<i4"), ("weight", "i1"), ("shift", "u1"), ("reserved", "<u2")])
assert _SCALE.itemsize == SCALE.size and set(SCALE.positions) <= set(_SCALE.names or ())


def scale_beats(run: Run, configuration: Configuration) -> int:
    """Beats of a run's scale-shift constants: of every lane of the words that it reads."""
    return -(-_words_read(run, configuration) * configuration.input_lanes * SCALE.size // configuration.port_bytes)


def stream(
    operation: Operation, tiling: Tiling, layouts: Mapping[str, Layout], configuration: Configuration
) -> Iterator[bytes]:
    """The pieces of one operation's stream, each of whole beats."""
    source, result = layouts[operation.input], layouts[operation.output]
    for run, repeat in zip(tiling.runs, tiling.repeat, strict=True):
        if operation.table is not None:
            yield _inner_table(operation.table).tobytes()
        if operation.prescale is not None:
            yield _scales(operation.prescale, run, source, configuration)
        if operation.requantize is None:
            continue
        channels = _run_channels(run, result, configuration)
        if tiling.words:
            channels = np.zeros(run.tiles * configuration.output_lanes, np.int64)  # all are like the first
        parameters = _parameters(operation, channels, configuration)
        weights = _weights(operation, run, source, result, configuration)
        for tile in range(run.tiles):
            yield parameters[tile]
            if weights is not None:
                yield weights[tile].tobytes() * (tiling.blocks if repeat else 1)


def _words_read(run: Run, configuration: Configuration) -> int:
    """Words of a pixel from the first that a run reads to its last."""
    return (-(-run.tiles // configuration.slices) - 1) * run.input_step + run.input_words


def _scales(prescale: Prescale, run: Run, source: Layout, configuration: Configuration) -> bytes:
    """The constants of every lane of the words that a run reads; zero where a lane has no channel."""
    lanes = configuration.input_lanes
    first = run.input_word * lanes
    channels = source.channels(lanes)[first : first + _words_read(run, configuration) * lanes]
    used = channels >= 0
    records = np.zeros(len(channels), _SCALE)
    records["bias"][used] = prescale.bias[channels[used]]
    records["weight"][used] = prescale.weights[channels[used]]
    records["shift"][used] = prescale.shifts[channels[used]]
    return records.tobytes().ljust(scale_beats(run, configuration) * configuration.port_bytes, b"\0")


def _inner_table(table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The table as the hardware reads it: entry and result are the bits of x - 128, top bit inverted."""
    return np.asarray(table[np.arange(len(table)) ^ 0x80] ^ np.uint8(0x80))


def _parameters(operation: Operation, channels: NDArray[np.int64], configuration: Configuration) -> list[bytes]:
    """The parameters of each tile. A lane without a channel yields zero."""
    requantize = operation.requantize
    assert requantize is not None
    lanes = configuration.output_lanes
    used = channels >= 0
    records = np.zeros(len(channels), _RECORD)
    records["scale"] = 1.0
    bias = requantize.bias
    if operation.weights is not None:
        # Inside, activations are x - 128: what is missing to the sum of (x - xz) * w is a constant of the channel.
        bias = bias + (128 - operation.input_zero) * operation.weights.sum((1, 2, 3), dtype=np.int64)
    records["bias"][used] = bias.astype(np.int32)[channels[used]]  # modulo 2^32, as the accumulators count
    records["scale"][used] = requantize.scale[channels[used]]
    for field in ("zero", "low", "high"):
        records[field] = -128
        records[field][used] = getattr(requantize, field) - 128
    size = configuration.parameter_beats * configuration.port_bytes
    return [records[start : start + lanes].tobytes().ljust(size, b"\0") for start in range(0, len(records), lanes)]


def _weights(
    operation: Operation, run: Run, source: Layout, result: Layout, configuration: Configuration
) -> NDArray[np.int8] | None:
    """int8 [tile, step, output lane, input lane]; zero where a lane has no channel or another group's."""
    if operation.weights is None:
        return None
    inputs, outputs = configuration.input_lanes, configuration.output_lanes
    weights, group = operation.weights, operation.group
    maps, share_in, rows, columns = weights.shape
    share_out = maps // group
    channels = _run_channels(run, result, configuration)
    width = run.input_words * inputs
    spread = np.zeros((len(channels), rows, columns, width), np.int8)
    used = np.flatnonzero(channels >= 0)
    if group == 1:
        places = source.lanes - run.input_word * inputs
        spread[used[:, None], :, :, places] = weights[channels[used]]
    else:
        # Each output lane has its own inputs: those of its group, seen from the first word of its output word.
        numbers = channels[used]
        firsts = (run.input_word + used // inputs * run.input_step) * inputs
        members = numbers[:, None] // share_out * share_in + np.arange(share_in)
        spread[used[:, None], :, :, source.lanes[members] - firsts[:, None]] = weights[numbers]
    steps = rows * columns * run.input_words
    return np.ascontiguousarray(spread.reshape(run.tiles, outputs, steps, inputs).transpose(0, 2, 1, 3))


def _run_channels(run: Run, result: Layout, configuration: Configuration) -> NDArray[np.int64]:
    """The channel of every lane of a run's tiles, -1 where there is none."""
    first = run.output_word * configuration.input_lanes + run.output_slice * configuration.output_lanes
    channels = result.channels(configuration.input_lanes)
    return channels[first : first + run.tiles * configuration.output_lanes]
