"""The names on the wire: services, methods, and the metadata keys that client and server agree on."""

from __future__ import annotations

__all__ = [
    "AUTHORIZATION_KEY",
    "DEFAULT_SIGNATURE",
    "GET_MODEL_METADATA",
    "HEALTH_CHECK",
    "HEALTH_SERVICE",
    "INFERENCE_SERVICE",
    "MANIFEST_FIELD",
    "MODEL_SERVICE",
    "MODEL_VERSION",
    "OUTPUT_NAMES_KEY",
    "OUTPUT_NAMES_ONCE",
    "PREDICT",
    "PREDICTION_SERVICE",
    "PREDICT_METHOD_NAME",
    "REQUEST_ID_KEY",
    "ROUTE_KEY",
    "ROUTE_PREFIX",
    "SIGNATURE_FIELD",
    "TIMINGS_KEY",
]

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
PREDICT = f"/{PREDICTION_SERVICE}/Predict"
GET_MODEL_METADATA = f"/{PREDICTION_SERVICE}/GetModelMetadata"
MODEL_SERVICE = "tensorflow.serving.ModelService"
INFERENCE_SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"
HEALTH_CHECK = f"/{HEALTH_SERVICE}/Check"

DEFAULT_SIGNATURE = "serving_default"
MODEL_VERSION = 1  # a service has one package, which does not change while it runs
PREDICT_METHOD_NAME = "tensorflow/serving/predict"
SIGNATURE_FIELD = "signature_def"
MANIFEST_FIELD = "manifest"  # ours: the package's manifest.json as a google.protobuf.StringValue

AUTHORIZATION_KEY = "authorization"  # Bearer, and a key or a token (RFC 6750)

# The front end of the retired service routed by this header; gateways may route by it again.
ROUTE_KEY = "x-ms-aml-grpc-service-route"
ROUTE_PREFIX = "/api/v1/service/"

# Whoever does not filter outputs gets each under every name it may know; with this header, each comes once.
OUTPUT_NAMES_KEY = "fieldwave-output-names"
OUTPUT_NAMES_ONCE = "once"

# Sent back as a trailer if a client sends it; logs speak of the request by it.
REQUEST_ID_KEY = "x-request-id"
# Whoever sends it gets it back as a trailer: milliseconds in each stage (W3C Server Timing).
TIMINGS_KEY = "server-timing"
