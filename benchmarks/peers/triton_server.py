"""Triton with its Python backend, as PyTriton's wheel has it: ``triton_server.py GRPC_PORT HTTP_PORT FOLDER``."""

import os
import sys
import sysconfig
from pathlib import Path

MODEL = """
import sys

sys.path.insert(0, {here!r})
import triton_python_backend_utils as pb_utils
from do_nothing import of_image, of_tensor


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "images").as_numpy()
            scores = of_image(array[0]) if array.dtype == object else of_tensor(array)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("scores", scores)]))
        return answers
"""
CONFIG = """
backend: "python"
max_batch_size: 0
input [{{ name: "images" data_type: {type} dims: {dims} }}]
output [{{ name: "scores" data_type: TYPE_FP32 dims: [1, 1000] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
"""
TENSORS = {
    "pixels": ("TYPE_UINT8", [1, 224, 224, 3]),
    "tensor": ("TYPE_FP32", [1, 224, 224, 3]),
    "image": ("TYPE_STRING", [1]),
}

if __name__ == "__main__":
    grpc_port, http_port, folder = sys.argv[1:]
    here = str(Path(__file__).resolve().parent)
    packages = sysconfig.get_paths()["purelib"]
    root = Path(packages, "pytriton", "tritonserver")
    stub = root / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    backend = Path(folder, "backends", "python")  # the backend beside the stub of this interpreter
    backend.mkdir(parents=True)
    for file in (*(root / "backends" / "python").iterdir(), *stub.iterdir()):
        target = backend / file.name
        target.unlink(missing_ok=True)
        target.symlink_to(file)
    for name, (kind, dims) in TENSORS.items():
        version = Path(folder, "models", name, "1")
        version.mkdir(parents=True)
        (version / "model.py").write_text(MODEL.format(here=here))
        (version.parent / "config.pbtxt").write_text(CONFIG.format(type=kind, dims=dims))
    libraries = [*map(str, Path(packages).glob("nvidia_pytriton.libs")), sysconfig.get_config_var("LIBDIR")]
    paths = {
        "LD_LIBRARY_PATH": ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]),
        "PYTHONPATH": packages,
    }
    os.execve(
        root / "bin" / "tritonserver",
        [
            "tritonserver",
            f"--model-repository={folder}/models",
            f"--backend-directory={folder}/backends",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={grpc_port}",
            "--http-address=127.0.0.1",
            f"--http-port={http_port}",
            "--allow-metrics=false",
            "--log-verbose=0",
        ],
        {**os.environ, **paths},
    )
