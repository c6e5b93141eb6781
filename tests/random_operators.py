"""Random quantized operators and small graphs of them, each with values for its inputs (hypothesis strategies)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldwave.golden import Window
from fieldwave.graph import Graph
from tests.random_networks import Builder, Tensor

CHANNELS = st.integers(1, 40) | st.integers(1, 200)
Case = tuple[Graph, dict[str, NDArray[Any]]]


@st.composite
def windows(draw: st.DrawFn, largest: int = 7, *, pools: bool = False) -> Window:
    kernel = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    pads = tuple(draw(st.integers(0, min(3, kernel[axis % 2] - 1) if pools else 3)) for axis in range(4))
    strides = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilations = (1, 1) if pools else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    return Window(kernel, strides, pads, dilations, ceil_mode=pools and draw(st.booleans()))


def image(draw: st.DrawFn, b: Builder, window: Window, channels: int) -> Tensor:
    """A map a little larger than the window needs, so that strides and padding matter; fed, or made on the NPU."""
    least = [max(1, window.reach(a) - window.pads[a] - window.pads[a + 2]) for a in range(2)]
    x = b.input(channels, *(size + draw(st.integers(0, 9)) for size in least))
    return b.max_pool(x, Window((1, 1))) if draw(st.booleans()) else x


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    b, window = Builder(draw(st.integers(0, 2**32))), draw(windows())
    kind = draw(st.sampled_from(["dense", "dense", "group", "depthwise"]))
    group, share_in, share_out = 1, draw(CHANNELS), draw(CHANNELS)
    if kind == "group":
        group, share_in, share_out = draw(st.integers(2, 6)), draw(st.integers(1, 33)), draw(st.integers(1, 33))
    if kind == "depthwise":
        group, share_in, share_out = draw(CHANNELS), 1, draw(st.sampled_from([1, 1, 2]))
    x = image(draw, b, window, group * share_in)
    y = b.conv(x, group * share_out, window, group)
    if draw(st.booleans()):
        y = b.clip(y)
    if draw(st.booleans()):
        y = b.lookup(y)
    if draw(st.booleans()):
        y = b.max_pool(y, draw(fitting_windows(*y.shape[2:])))
    return b.graph(y), b.feeds()


@st.composite
def fitting_windows(draw: st.DrawFn, *size: int) -> Window:
    """A max pool's window that is no larger than the map, most often one that goes into a convolution."""
    kernel = tuple(draw(st.integers(1, min(3, side))) for side in size)
    strides = tuple(draw(st.sampled_from([max(1, k - 1), k])) for k in kernel)
    pads = tuple(draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4))
    return Window(kernel, strides, pads, ceil_mode=draw(st.booleans()))


@st.composite
def residuals(draw: st.DrawFn) -> Case:
    """Two branches and their sum: convolutions, subsampling or nothing on either side."""
    b, channels = Builder(draw(st.integers(0, 2**32))), draw(CHANNELS)
    size, stride = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    x = b.input(channels, size, size)

    def branch() -> Tensor:
        pads = (1, 1, 1, 1)
        match draw(st.sampled_from(["conv", "conv", "subsample", "pool"])):
            case "conv":
                y = b.conv(x, channels, Window((3, 3), (stride, stride), pads))
                return b.clip(y) if draw(st.booleans()) else y
            case "subsample":
                return b.max_pool(x, Window((1, 1), (stride, stride)))
            case _:
                return b.max_pool(x, Window((3, 3), (stride, stride), pads))

    y = b.add(branch(), branch())
    if draw(st.booleans()):
        y = b.clip(y)
    if draw(st.booleans()):
        y = b.lookup(y)
    if draw(st.booleans()):
        y = b.add(y, b.conv(y, channels, Window((1, 1))))
    return b.graph(y), b.feeds()


@st.composite
def pools(draw: st.DrawFn) -> Case:
    b, window = Builder(draw(st.integers(0, 2**32))), draw(windows(5, pools=True))
    x = image(draw, b, window, draw(CHANNELS))
    match draw(st.sampled_from(["max", "average", "global"])):
        case "max":
            y = b.max_pool(x, window)
        case "average":
            y = b.average_pool(x, window, include=draw(st.booleans()))
        case _:
            y = b.global_pool(x)
    return b.graph(y), b.feeds()


@st.composite
def scaled(draw: st.DrawFn) -> Case:
    """Scale-shifts before every kind of operation, in a row, and before two operations at once."""
    b, channels = Builder(draw(st.integers(0, 2**32))), draw(st.integers(1, 70))
    window = draw(windows(3, pools=True))
    x = image(draw, b, window, channels)
    y = b.scale_shift(x)
    if draw(st.booleans()):
        y = b.clip(y)
    if draw(st.booleans()):
        y = b.scale_shift(b.concat(y, x))
    channels = y.shape[1]
    group = draw(st.sampled_from([g for g in (1, 1, 2, 3, channels) if channels % g == 0]))
    outputs = [b.conv(y, group * draw(st.integers(1, 20)), replace(window, ceil_mode=False), group)]
    match draw(st.sampled_from(["nothing", "max", "average", "global", "add"])):
        case "max":
            outputs.append(b.max_pool(y, window))
        case "average":
            outputs.append(b.average_pool(y, window, include=draw(st.booleans())))
        case "global":
            outputs.append(b.global_pool(y))
        case "add":
            outputs.append(b.add(b.conv(y, channels, Window((1, 1))), y))
    return b.graph(*outputs), b.feeds()


@st.composite
def fully_connected(draw: st.DrawFn) -> Case:
    b = Builder(draw(st.integers(0, 2**32)))
    x = b.input(draw(CHANNELS), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    y = b.gemm(b.flatten(x), draw(CHANNELS), transposed=draw(st.booleans()))
    if draw(st.booleans()):
        y = b.matmul(y, draw(CHANNELS))
    return b.graph(y), b.feeds()


@st.composite
def joined(draw: st.DrawFn) -> Case:
    """A dense block: parts joined and joined again, read by every kind of operation."""
    b, size = Builder(draw(st.integers(0, 2**32))), draw(st.integers(3, 9))
    x = b.input(draw(st.integers(1, 40)), size, size)
    whole = b.conv(x, draw(st.integers(1, 40)), Window((1, 1))) if draw(st.booleans()) else x
    parts = [whole]
    for _ in range(draw(st.integers(1, 3))):
        inner = b.conv(whole, draw(st.integers(1, 40)), Window((1, 1))) if draw(st.booleans()) else whole
        maps = draw(st.integers(1, 40) | st.sampled_from([8, 16, 24]))
        new = b.conv(inner, maps, Window((3, 3), pads=(1, 1, 1, 1)))
        parts.append(new)
        whole = b.concat(*parts) if draw(st.booleans()) else b.concat(whole, new)
    outputs = [whole]
    channels = whole.shape[1]
    for reader in draw(
        st.sets(st.sampled_from(["max", "depthwise", "add", "global", "gemm", "clip"]), max_size=3)
    ):
        match reader:
            case "max":
                outputs.append(b.max_pool(whole, Window((2, 2), (2, 2), ceil_mode=True)))
            case "depthwise":
                outputs.append(b.conv(whole, channels, Window((3, 3), (2, 2), (1, 1, 1, 1)), channels))
            case "add":
                outputs.append(b.add(b.conv(whole, channels, Window((1, 1))), whole))
            case "global":
                outputs.append(b.global_pool(whole))
            case "gemm":
                outputs.append(b.gemm(b.flatten(whole), 10, transposed=False))
            case _:
                outputs.append(b.clip(whole))
    return b.graph(*outputs), b.feeds()


def operators() -> st.SearchStrategy[Case]:
    """Any of them; convolutions, which have the most parameters, twice as often."""
    return st.one_of(convolutions(), convolutions(), residuals(), pools(), fully_connected(), joined(), scaled())
