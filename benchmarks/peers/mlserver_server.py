"""MLServer: ``python mlserver_server.py GRPC_PORT HTTP_PORT FOLDER``; this file is also its model."""

import json
import subprocess
import sys
from pathlib import Path

from do_nothing import of_image, of_tensor
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Nothing(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        (given,) = payload.inputs
        if self.name == "image":
            data = given.data.root if hasattr(given.data, "root") else given.data
            scores = of_image(data if isinstance(data, bytes) else data[0])
        else:
            scores = of_tensor(NumpyCodec.decode_input(given))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])


if __name__ == "__main__":
    grpc_port, http_port, folder = sys.argv[1:]
    settings = {
        "host": "127.0.0.1",
        "grpc_port": int(grpc_port),
        "http_port": int(http_port),
        "metrics_port": 0,
        "parallel_workers": 0,
        "debug": False,
        "grpc_max_message_length": 64 << 20,
    }
    Path(folder, "settings.json").write_text(json.dumps(settings))
    for name in ("pixels", "tensor", "image"):
        model = Path(folder, name)
        model.mkdir()
        about = {"name": name, "implementation": "mlserver_server.Nothing"}
        (model / "model-settings.json").write_text(json.dumps(about))
    here = Path(__file__).parent
    sys.exit(subprocess.call([Path(sys.executable).with_name("mlserver"), "start", folder], cwd=here))
