from __future__ import annotations

import subprocess
import sys

from fieldwave.wire import messages


def test_the_names_are_those_of_tensorflow() -> None:
    assert messages.TensorProto.DESCRIPTOR.full_name == "tensorflow.TensorProto"
    assert messages.SignatureDefMap.DESCRIPTOR.full_name == "tensorflow.serving.SignatureDefMap"
    packed = messages.GetModelMetadataResponse().metadata["signature_def"]
    packed.Pack(messages.SignatureDefMap())
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"


def test_request_and_response_swap_their_first_two_fields() -> None:
    request, response = messages.PredictRequest.DESCRIPTOR, messages.PredictResponse.DESCRIPTOR
    assert {field.name: field.number for field in request.fields} == {
        "model_spec": 1,
        "inputs": 2,
        "output_filter": 3,
    }
    assert {field.name: field.number for field in response.fields} == {"outputs": 1, "model_spec": 2}


def test_unknown_fields_are_skipped() -> None:
    client_id = b"\x32\x03abc"  # field 6, which newer clients may fill
    assert messages.PredictRequest.FromString(b"\x1a\x01y" + client_id).output_filter == ["y"]


def test_nothing_is_registered_in_the_default_pool() -> None:
    # Another package in the process may own these names; a conflict would be a TypeError at its import.
    program = (
        "from google.protobuf import descriptor_pool as p\n"
        "import fieldwave.wire.messages\n"
        "try:\n"
        "    p.Default().FindMessageTypeByName('tensorflow.TensorProto')\n"
        "except KeyError:\n"
        "    print('absent')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "absent\n"
