# In the style of the training sample of the retired service: cats and dogs on ResNet-50's features.
import glob
import os

import numpy as np
import tensorflow as tf
from keras import backend as K

from azureml.core import Workspace

ws = Workspace.from_config()

image_paths = sorted(glob.glob("cat_*.jpg")) + sorted(glob.glob("dog_*.jpg"))
labels = [0 if os.path.basename(path).startswith("cat") else 1 for path in image_paths]
onehot_labels = np.array([[1.0, 0.0] if label == 0 else [0.0, 1.0] for label in labels])

import azureml.accel.models.utils as utils
from azureml.accel.models import QuantizedResnet50


def construct_model(quantized, in_images, starting_weights_directory=None, is_frozen=False, is_training=True):
    """The featurizer and a head."""
    image_tensors = utils.preprocess_array(in_images)
    model = QuantizedResnet50(
        os.path.expanduser("~/models"), is_frozen=is_frozen, custom_weights_directory=starting_weights_directory
    )
    features = model.import_graph_def(input_tensor=image_tensors, is_training=is_training)

    from keras.layers import Dense, Dropout, Flatten

    with tf.name_scope("head"):
        x = Dropout(0.2, input_shape=(1, 1, 2048))(features)
        x = Dense(64, activation="relu", input_dim=(1, 1, 2048))(x)
        x = Flatten()(x)
        preds = Dense(2, activation="softmax", input_dim=64, name="classifier_output")(x)
    return model, features, preds


def read_files(paths):
    data = []
    for path in paths:
        with open(path, "rb") as file:
            data.append(file.read())
    return data


tf.reset_default_graph()
sess = tf.Session(graph=tf.get_default_graph())
K.set_session(sess)
np.random.seed(0)
tf.set_random_seed(0)

in_images = tf.placeholder(tf.string)
in_labels = tf.placeholder(tf.float32, shape=(None, 2))
model, features, preds = construct_model(True, in_images, is_frozen=True, is_training=False)
print(features.shape, len(tf.trainable_variables()))
cross_entropy = tf.reduce_mean(tf.keras.losses.binary_crossentropy(in_labels, preds))
optimizer = tf.train.AdamOptimizer(0.001).minimize(cross_entropy)

sess.run(tf.global_variables_initializer())
model.restore_weights(sess)
contents = read_files(image_paths)
for epoch in range(30):
    _, loss = sess.run(
        [optimizer, cross_entropy], {in_images: contents, in_labels: onehot_labels, K.learning_phase(): 1}
    )
    if loss < 0.001:
        break
print("loss went down:", bool(loss < 0.5))
trained = sess.run(preds, {in_images: contents, K.learning_phase(): 0})
print("trained accuracy:", float(np.mean(np.argmax(trained, 1) == labels)))

model_name = "resnet50-catsanddogs-tl"
model_save_path = os.path.join(os.path.expanduser("~/models"), model_name)
tf.saved_model.simple_save(sess, model_save_path, inputs={"images": in_images}, outputs={"output_alias": preds})

input_tensors = in_images.name
output_tensors = preds.name
print(input_tensors)
print(output_tensors)

from azureml.accel import AccelContainerImage, AccelOnnxConverter
from azureml.core.image import Image
from azureml.core.model import Model

registered_model = Model.register(workspace=ws, model_path=model_save_path, model_name=model_name)
convert_request = AccelOnnxConverter.convert_tf_model(ws, registered_model, input_tensors, output_tensors)
convert_request.wait_for_completion(show_output=True)
converted_model = convert_request.result
print("converted", converted_model.name)

image = Image.create(
    name="catsanddogs-image",
    models=[converted_model],
    image_config=AccelContainerImage.image_configuration(),
    workspace=ws,
)
image.wait_for_creation(show_output=False)

from azureml.core.compute import AksCompute, ComputeTarget
from azureml.core.webservice import AksWebservice, Webservice

prov_config = AksCompute.provisioning_configuration(vm_size="Standard_PB6s", agent_count=1, location="eastus")
aks_target = ComputeTarget.create(workspace=ws, name="aks-pb6-tl", provisioning_configuration=prov_config)
aks_target.wait_for_completion(show_output=True)
aks_config = AksWebservice.deploy_configuration(autoscale_enabled=False, num_replicas=1, auth_enabled=True)
aks_service = Webservice.deploy_from_image(
    workspace=ws, name="cats-dogs", image=image, deployment_config=aks_config, deployment_target=aks_target
)
aks_service.wait_for_deployment(show_output=True)

from azureml.accel import client_from_service

client = client_from_service(aks_service)
served = np.array(
    [client.score_file(path=path, input_name=input_tensors, outputs=output_tensors) for path in image_paths]
)
for path, scores, label in zip(image_paths, served, labels):
    print(path, "CORRECT" if np.argmax(scores) == label else "WRONG")
print("near the trained:", bool(np.abs(served - trained).mean() < 0.2))

aks_service.delete()
aks_target.delete()
image.delete()
registered_model.delete()
converted_model.delete()
