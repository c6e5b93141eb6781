# In the style of the object detection sample of the retired service.
import os
import time

import numpy as np
import tensorflow as tf

from azureml.core import Workspace

ws = Workspace.from_config()
print(ws.name, ws.resource_group, ws.location, sep="\n")

import azureml.accel.models.utils as utils

tf.reset_default_graph()

in_images = tf.placeholder(tf.string)
image_tensors = utils.preprocess_array(in_images, output_width=300, output_height=300, preserve_aspect_ratio=False)
print(image_tensors.shape)

from azureml.accel.models import SsdVgg

saved_model_dir = os.path.join(os.path.expanduser("~"), "models")
model_graph = SsdVgg(saved_model_dir, is_frozen=True)

print("SSD-VGG Input dims: {}".format(model_graph.get_input_dims()))
for idx, dims in enumerate(model_graph.get_output_dims(i) for i in range(12)):
    print("SSD-VGG Output dims {}: {}".format(idx, dims))

ssd_outputs = model_graph.import_graph_def(image_tensors, is_training=False)
print("SSD-VGG Output names: {}".format([tensor.name for tensor in ssd_outputs]))

model_name = "ssdvgg"
model_save_path = os.path.join(saved_model_dir, model_name, "saved_model")

with tf.Session() as sess:
    model_graph.restore_weights(sess)
    output_map = {"out_{}".format(i): output for i, output in enumerate(ssd_outputs)}
    tf.saved_model.simple_save(sess, model_save_path, inputs={"images": in_images}, outputs=output_map)

input_tensors = in_images.name
# A list will cause an error: the names are given in one string.
output_tensors_str = ",".join([tensor.name for tensor in ssd_outputs])
output_tensors = [tensor.name for tensor in ssd_outputs]

from azureml.core.model import Model

registered_model = Model.register(workspace=ws, model_path=model_save_path, model_name=model_name)
print(
    "Successfully registered: ",
    registered_model.name,
    registered_model.description,
    registered_model.version,
    sep="\t",
)

from azureml.accel import AccelOnnxConverter

convert_request = AccelOnnxConverter.convert_tf_model(ws, registered_model, input_tensors, output_tensors_str)
if convert_request.wait_for_completion(show_output=False):
    converted_model = convert_request.result
    print(
        "\nSuccessfully converted: ",
        converted_model.name,
        converted_model.url,
        converted_model.version,
        converted_model.id,
        converted_model.created_time,
        "\n",
    )
else:
    raise SystemExit("Model conversion failed.")

from azureml.accel import AccelContainerImage
from azureml.core.image import Image

image_config = AccelContainerImage.image_configuration()
image_name = "{}-image".format(model_name)
image = Image.create(name=image_name, models=[converted_model], image_config=image_config, workspace=ws)
image.wait_for_creation(show_output=True)
print(image.creation_state)

from azureml.core.compute import AksCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException

aks_name = "aks-pb6-obj"
try:
    aks_target = ComputeTarget(workspace=ws, name=aks_name)
    print("Found existing cluster, use it.")
except ComputeTargetException:
    prov_config = AksCompute.provisioning_configuration(vm_size="Standard_PB6s", agent_count=1, location="eastus")
    aks_target = ComputeTarget.create(workspace=ws, name=aks_name, provisioning_configuration=prov_config)
aks_target.wait_for_completion(show_output=True)

from azureml.core.webservice import AksWebservice, Webservice

aks_config = AksWebservice.deploy_configuration(autoscale_enabled=False, num_replicas=1, auth_enabled=False)
aks_service_name = "my-aks-service"
aks_service = Webservice.deploy_from_image(
    workspace=ws, name=aks_service_name, image=image, deployment_config=aks_config, deployment_target=aks_target
)
aks_service.wait_for_deployment(show_output=True)

from azureml.accel import client_from_service

client = client_from_service(aks_service)

start = time.time()
result = client.score_file(path="meeting.jpg", input_name=input_tensors, outputs=output_tensors)
print("Scored", len(result), "outputs:", [output.shape for output in result])

import azureml.accel._external.ssdvgg_utils as ssdvgg_utils

classes, scores, bboxes = ssdvgg_utils.postprocess(result, select_threshold=0.5)
print("found", len(classes), classes.shape == scores.shape, bboxes.shape[1])

aks_service.delete()
aks_target.delete()
image.delete()
registered_model.delete()
converted_model.delete()
