"""Components in Amaranth's own simulator: small, slow, and every signal in reach."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")

from amaranth import Module, Mux, Signal
from amaranth.sim import Simulator

from fieldwave.npu.activations import Activations

slice_of = Activations._slice


def simulate(
    component: Any, *benches: Callable[[Any], Any], background: tuple[Callable[[Any], Any], ...] = ()
) -> None:
    """Run ``benches`` to their end; those in the background may never end."""
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # signals that nothing drives in a bench
        simulator.run_until(1.0) if not benches else simulator.run()


async def take(ctx: Any, stream: Any, rng: random.Random, *, ready: float = 0.7) -> Any:
    """The next payload of a stream, after a random wait."""
    while True:
        offers = rng.random() < ready
        ctx.set(stream.ready, offers)
        _, _, valid, payload = await ctx.tick().sample(stream.valid, stream.payload)
        if offers and valid:
            ctx.set(stream.ready, 0)
            return payload


def fragile_slice(self: Activations, m: Module, name: str, depth: int) -> tuple[Any, Any]:
    """Activation memory as a chip may have it: what is read while it is written is neither old nor new."""
    read, write = slice_of(self, m, name, depth)
    collided = Signal(name=f"collided_{name}")
    m.d.sync += collided.eq(read.en & write.en & (read.addr == write.addr))
    return SimpleNamespace(en=read.en, addr=read.addr, data=Mux(collided, ~read.data, read.data)), write


async def give(ctx: Any, stream: Any, payload: Any, rng: random.Random, *, valid: float = 0.7) -> None:
    """Offer a payload, after a random wait, until it is taken."""
    while rng.random() >= valid:
        await ctx.tick()
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    while True:
        _, _, ready = await ctx.tick().sample(stream.ready)
        if ready:
            break
    ctx.set(stream.valid, 0)


async def pulse(ctx: Any, signal: Any) -> None:
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


def set_record(ctx: Any, view: Any, values: dict[str, int]) -> None:
    """Set the fields of a record; the others become zero."""
    for name in view.shape().members:
        ctx.set(view[name], values.get(name, 0))
