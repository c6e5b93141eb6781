from __future__ import annotations

from fieldwave.serving.signature import Signature
from tests.served import FEATURES, SCORES, package


def test_the_signature_lists_each_tensor_once_by_alias_and_by_its_name_in_the_graph() -> None:
    proto = Signature.of(package(SCORES, FEATURES)).to_proto()
    assert proto.method_name == "tensorflow/serving/predict"
    described = {
        key: (info.name, info.dtype, [dim.size for dim in info.tensor_shape.dim])
        for infos in (proto.inputs, proto.outputs)
        for key, info in infos.items()
    }
    assert described == {
        "images": ("Placeholder:0", 1, [-1, 4, 5, 3]),
        "output_alias": ("classifier/Softmax:0", 1, [-1, 10]),
        "features_alias": ("features:0", 1, [-1, 200, 100]),
    }


def test_the_model_is_named_after_the_network_unless_it_gets_a_name() -> None:
    assert Signature.of(package()).model == "affine"
    assert Signature.of(package(), "mine").model == "mine"
