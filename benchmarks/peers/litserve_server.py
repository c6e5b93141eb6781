"""LitServe: ``python litserve_server.py GRPC_PORT HTTP_PORT FOLDER``; it speaks HTTP, and takes files."""

import sys

import litserve as ls
import numpy as np
from do_nothing import SHAPE, of_image, of_tensor
from fastapi import Request, Response


class Nothing(ls.LitAPI):
    def setup(self, device):
        self.name = self.api_path.strip("/")

    def decode_request(self, request: Request):
        return request["file"].file.read()

    def predict(self, data):
        if self.name == "image":
            return of_image(data)
        return of_tensor(np.frombuffer(data, {"pixels": np.uint8, "tensor": np.float32}[self.name]).reshape(SHAPE))

    def encode_response(self, scores):
        return Response(scores.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    _, http_port, _ = sys.argv[1:]
    apis = [Nothing(api_path=f"/{name}") for name in ("pixels", "tensor", "image")]
    server = ls.LitServer(apis, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(http_port), num_api_servers=1, log_level="warning", generate_client_file=False
    )
