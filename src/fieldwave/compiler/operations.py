"""What the compiler speaks between ONNX and descriptors: feature maps and the operations that an NPU has.

One `Operation` is one pass over an input in activation memory. The passes `lower`, `fuse` and `concat` rewrite
lists of them; from `memory` on they stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldwave.golden import Window
from fieldwave.npu.isa import Opcode

__all__ = [
    "Average",
    "FeatureMap",
    "Form",
    "Join",
    "Move",
    "Operation",
    "Pool",
    "Prescale",
    "Requantize",
    "Residual",
    "Step",
    "count_macs",
]

Form = Literal["nchw", "nhwc", "flat"]
"""How ONNX sees a map: [1, C, H, W], [1, H, W, C], or [1, C*H*W]."""


@dataclass(frozen=True)
class FeatureMap:
    """The size of one quantized tensor of one image. In activation memory it is always channels-last."""

    height: int
    width: int
    channels: int
    form: Form = "nchw"

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def __str__(self) -> str:
        return f"{self.height} x {self.width} x {self.channels}"


@dataclass(frozen=True)
class Requantize:
    """From int32 sums to bytes, ``clip(rne(fl(fl(sum + bias) * scale)) + zero, low, high)``.

    Attributes:
        bias: int64 [M], of sums of ``(x - xz) * w``; what the hardware sums differs, and `stream` corrects it.
        scale: float32 [M].
        zero: zero point of the result.
        low, high: bounds of the result.
    """

    bias: NDArray[np.int64]
    scale: NDArray[np.float32]
    zero: int
    low: int = 0
    high: int = 255


@dataclass(frozen=True)
class Residual:
    """The exact addition of a second tensor b to the requantized result a, and the bounds of the sum.

    Attributes:
        tensor: b.
        stride: pixels of b between two pixels of the result, rows first.
        a_exponent, b_exponent: log2 of the operand's scale over the sum's scale.
        a_zero, b_zero, zero: zero points of a, of b and of the sum, 0 or 128.
    """

    tensor: str
    a_exponent: int
    a_zero: int
    b_exponent: int
    b_zero: int
    zero: int
    low: int = 0
    high: int = 255
    stride: tuple[int, int] = (1, 1)

    @property
    def shift(self) -> int:
        """How far the operands are shifted left so that both are integers, and their sum right again."""
        return max(0, -self.a_exponent, -self.b_exponent)

    @property
    def shifts(self) -> tuple[int, int, int]:
        """Left shifts of a and b, and the right shift of their sum."""
        return self.a_exponent + self.shift, self.b_exponent + self.shift, self.shift


@dataclass(frozen=True)
class Average:
    """``sat(rne(sum(x - xz) * 2^exponent / n) + zero)``; n counts padding where ``padding_counts``."""

    exponent: int
    zero: int
    padding_counts: bool


@dataclass(frozen=True)
class Pool:
    """A max pool over the results, on their way to memory.

    Attributes:
        window: on the results.
        source: how many there are; the operation's output has the size of the pooled map.
    """

    window: Window
    source: FeatureMap


@dataclass(frozen=True)
class Prescale:
    """A scale-shift of the input: ``clip(rne(((x - input_zero) * weight + bias) / 2^shift) + zero, low, high)``.

    Attributes:
        weights: int8 [C].
        bias: int64 [C].
        shifts: int64 [C], 0 to 31.
        macs: multiply-accumulates of the network that it stands for.
    """

    input_zero: int
    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    shifts: NDArray[np.int64]
    zero: int
    low: int
    high: int
    macs: int


@dataclass(frozen=True)
class Operation:
    """One compute operation.

    Attributes:
        nodes: names of the ONNX nodes that it computes, in order.
        opcode: CONV, MAX, AVERAGE or SUM.
        input, output: tensors.
        window: kernel, strides, pads and dilations on the input.
        input_zero: zero point of the input, which padding reads as; of the scaled one, where it is scaled.
        weights: CONV: int8 [M, C / group, kernel height, kernel width].
        group: CONV: input and output channels fall into that many independent groups.
        identity: CONV that copies bytes, for the sake of what follows it: residual, bounds or table.
        requantize: CONV and SUM.
        average: AVERAGE.
        residual: CONV: what is added.
        table: uint8 [256], applied to every result.
        prescale: what happens to every element of the input before the window takes it.
        pool: a max pool over the results.
        macs: CONV: multiply-accumulates of the network for each pixel of the result, where weights were added.
    """

    nodes: tuple[str, ...]
    opcode: Opcode
    input: str
    output: str
    window: Window
    input_zero: int = 0
    weights: NDArray[np.int8] | None = None
    group: int = 1
    identity: bool = False
    requantize: Requantize | None = None
    average: Average | None = None
    residual: Residual | None = None
    table: NDArray[np.uint8] | None = None
    prescale: Prescale | None = None
    pool: Pool | None = None
    macs: int | None = None

    @property
    def name(self) -> str:
        """The operation's name in messages: that of its first node."""
        return self.nodes[0]

    @property
    def sums_words(self) -> bool:
        """Whether it is a global sum with the same constants for every channel.

        Every word of its one pixel is then computed alike, so words can take the place of pixels, and strips.
        """
        constants = self.requantize
        if (
            self.opcode != Opcode.SUM
            or constants is None
            or self.prescale is not None
            or self.residual is not None
        ):
            return False
        return len(np.unique(constants.bias)) == len(np.unique(constants.scale)) == 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors it reads."""
        return (self.input,) if self.residual is None else (self.input, self.residual.tensor)


@dataclass(frozen=True)
class Move:
    """A node that only renames: its output has the bytes of its input, seen in another form."""

    node: str
    input: str
    output: str


@dataclass(frozen=True)
class Join:
    """A concatenation along channels."""

    node: str
    inputs: tuple[str, ...]
    output: str


Step = Operation | Move | Join


def count_macs(operation: Operation, output: FeatureMap) -> int:
    """Multiply-accumulates of the network in an operation; copies and pools have none."""
    before = 0 if operation.prescale is None else operation.prescale.macs
    if operation.weights is None or operation.identity:
        return before
    results = output if operation.pool is None else operation.pool.source
    each = operation.weights.size if operation.macs is None else operation.macs
    return before + each * results.pixels
