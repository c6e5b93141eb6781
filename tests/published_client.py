"""Run by the retired service's own published client, in an environment of its own: score a file, print the floats.

Arguments: port, image, input, output.
"""

import sys

from azureml.accel import PredictionClient

port, image, input_name, output = sys.argv[1:]
client = PredictionClient(address="127.0.0.1", port=int(port), use_ssl=False, service_name="digits")
scores = client.score_file(path=image, input_name=input_name, outputs=output)
print(scores.dtype, scores.shape, scores.tobytes().hex())
