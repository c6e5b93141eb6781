"""KServe's Python server: ``python kserve_server.py GRPC_PORT HTTP_PORT FOLDER``."""

import logging
import sys

import uvicorn
from do_nothing import SCORES, of_image, of_tensor
from grpc.aio import _server as aio
from kserve import InferOutput, InferResponse, Model, ModelServer

# It would listen on all addresses of the machine.
add_port, configure = aio.Server.add_insecure_port, uvicorn.Config.__init__
aio.Server.add_insecure_port = lambda self, address: add_port(self, address.replace("[::]", "127.0.0.1"))
uvicorn.Config.__init__ = lambda self, *given, **options: configure(
    self, *given, **{**options, "host": "127.0.0.1"}
)


class Nothing(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None):
        array = payload.inputs[0].as_numpy()
        scores = of_image(array.ravel()[0]) if self.name == "image" else of_tensor(array)
        output = InferOutput("scores", list(SCORES.shape), "FP32")
        output.set_data_from_numpy(scores, binary_data=True)
        return InferResponse(response_id=payload.id or "", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    logging.disable(logging.INFO)  # it logs two lines for each request, which no busy service would keep
    grpc_port, http_port, _ = sys.argv[1:]
    sys.argv = sys.argv[:1]
    server = ModelServer(
        http_port=int(http_port), grpc_port=int(grpc_port), workers=1, enable_latency_logging=False
    )
    server.start([Nothing(name) for name in ("pixels", "tensor", "image")])
