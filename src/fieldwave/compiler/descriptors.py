"""The fields of descriptors, from what the passes decided."""

from __future__ import annotations

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.memory import Slab
from fieldwave.compiler.operations import Operation
from fieldwave.compiler.pooled import pool_fields, results_width
from fieldwave.compiler.stream import scale_beats
from fieldwave.compiler.strips import Strip, convolved, rows
from fieldwave.compiler.tile import Run, Tiling
from fieldwave.npu import Configuration
from fieldwave.npu.isa import COMPUTE

__all__ = ["AVERAGE_ONE", "compute_fields"]

AVERAGE_ONE = 8
"""What the field ``average_shift`` holds where input and output have one scale."""
STEPS = ("x_step", "y_step", "tile_step")
ADDRESS = 1 << COMPUTE.positions["input_base"][0].bits


def compute_fields(
    operation: Operation,
    strip: Strip,
    tiling: Tiling,
    number: int,
    layouts: tuple[Layout, Layout, Layout | None],
    slabs: tuple[Slab, Slab, Slab | None],
    configuration: Configuration,
) -> dict[str, int]:
    """One compute descriptor, but for its wait: run ``number`` of a strip.

    Args:
        layouts, slabs: of the input, of the output, and of the residual where there is one.
    """
    run = tiling.runs[number]
    (source, result, _), (read, written, _) = layouts, slabs
    window = operation.window
    (stride_y, stride_x), (dilation_y, dilation_x) = window.strides, window.dilations
    left = window.pads[1]
    first, last = convolved(operation, strip)
    start_y = first * stride_y - window.pads[0] - read.first
    first_row, _ = rows(operation, "output", result.map.height, strip)
    fields = {
        "opcode": int(operation.opcode),
        "repeat": int(tiling.repeat[number]),
        "lookup": int(operation.table is not None),
        "tiles": run.tiles,
        "blocks": tiling.blocks,
        "block_pixels": tiling.block_pixels,
        "last_pixels": tiling.last_pixels,
        "kernel_height": window.kernel[0],
        "kernel_width": window.kernel[1],
        "input_tiles": run.input_words,
        "steps": window.kernel[0] * window.kernel[1] * run.input_words,
        "output_width": results_width(operation, result.map.width),
        "output_height": last - first,
        "input_height": read.rows,
        "input_width": source.map.width,
        "start_y": start_y,
        "start_x": -left,
        "stride_y": stride_y,
        "stride_x": stride_x,
        "dilation_y": dilation_y,
        "dilation_x": dilation_x,
        "pad_value": operation.input_zero - 128,
        "input_bank": read.bank,
        "input_base": (read.base + run.input_word + start_y * read.step - left * read.pitch) % ADDRESS,
        "input_x_step": stride_x * read.pitch,
        "input_y_step": stride_y * read.step,
        "tap_x_step": dilation_x * read.pitch,
        "tap_y_step": dilation_y * read.step,
        "input_tile_step": run.input_step,
        "output_bank": written.bank,
        "output_base": written.base + (first_row - written.first) * written.step + run.output_word,
        "output_x_step": written.pitch,
        "output_y_step": written.step,
        "output_tile_step": 1,
        "output_slice": run.output_slice,
        "clamp_low": -128,
        "clamp_high": 127,
    }
    if tiling.words:
        fields |= {"output_width": tiling.words, "stride_x": 0, "input_x_step": 1, "output_x_step": 1}
        fields["output_base"] += strip.first
    if configuration.pixel_lanes > 1:
        lane_rows, lane_columns = divmod(tiling.pixels, fields["output_width"])
        fields |= {
            "lanes": tiling.lanes,
            "lane_pixels": tiling.pixels,
            "lane_rows": lane_rows,
            "lane_columns": lane_columns,
        }
    if operation.average is not None:
        average = operation.average
        fields |= {
            "padding_counts": int(average.padding_counts),
            "average_shift": AVERAGE_ONE - average.exponent,
            "average_taps": window.kernel[0] * window.kernel[1],
            "output_zero": average.zero - 128,
        }
    if operation.prescale is not None:
        prescale = operation.prescale
        fields |= {
            "prescale": 1,
            "prescale_beats": scale_beats(run, configuration),
            "prescale_input_zero": prescale.input_zero - 128,
            "prescale_zero": prescale.zero - 128,
            "prescale_low": prescale.low - 128,
            "prescale_high": prescale.high - 128,
        }
    if operation.pool is not None:
        fields |= pool_fields(operation.pool, (strip.first, strip.last), (first, last), continues=strip.continues)
    if result.merged:
        # Where the word already holds channels, the sums are zero; where the sums are, the word is.
        fields |= {
            "residual": 1,
            "residual_a_zero": -128,
            "residual_b_zero": -128,
            "output_zero": -128,
            **{f"residual_{name}": fields[f"output_{name}"] for name in ("bank", "base", *STEPS)},
        }
    if layouts[2] is not None and slabs[2] is not None:
        fields |= _residual_fields(operation, strip, run, slabs[2])
    return fields


def _residual_fields(operation: Operation, strip: Strip, run: Run, slab: Slab) -> dict[str, int]:
    residual = operation.residual
    assert residual is not None
    left_a, left_b, right = residual.shifts
    stride_y, stride_x = residual.stride
    return {
        "residual": 1,
        "residual_a_shift": left_a,
        "residual_a_zero": residual.a_zero - 128,
        "residual_b_shift": left_b,
        "residual_b_zero": residual.b_zero - 128,
        "residual_shift": right,
        "output_zero": residual.zero - 128,
        "clamp_low": residual.low - 128,
        "clamp_high": residual.high - 128,
        "residual_bank": slab.bank,
        "residual_base": slab.base + (strip.first * stride_y - slab.first) * slab.step + run.output_word,
        "residual_x_step": stride_x * slab.pitch,
        "residual_y_step": stride_y * slab.step,
        "residual_tile_step": 1,
    }
