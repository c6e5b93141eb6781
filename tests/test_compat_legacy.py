"""Running old scripts: the names that they import, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fieldwave.compat.legacy.addresses import content_of
from fieldwave.zoo import imagenet_labels


def legacy(folder: Path, script: str, *options: str, name: str = "script.py") -> subprocess.CompletedProcess[str]:
    (folder / name).write_text(script)
    command = [sys.executable, "-m", "fieldwave", "legacy", "run", *options, name, "one", "--two"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_a_script_sees_azureml_its_arguments_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("value = 7\n")
    result = legacy(
        tmp_path,
        """
import sys
from azureml.core import Workspace, Model
from azureml.core.model import Model as Same
from azureml.exceptions import WebserviceException
import azureml.core.webservice
from beside import value
assert Model is Same
print(__name__, sys.argv, value, Workspace.from_config().location)
""",
        "--explain",
    )
    assert result.stdout == "__main__ ['script.py', 'one', '--two'] 7 local\n"
    assert "script.py:9: Workspace.from_config()\n    fieldwave.Workspace.find()\n" in result.stderr
    assert result.returncode == 0


def test_a_notebook_without_its_magics(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["%matplotlib inline\\n", "!pip install x\\n", "a = 1\\n", "print(a)"]},
        {"cell_type": "code", "source": ["%%bash\\n", "echo hello"]},
        {"cell_type": "code", "source": "print(a + 1)"},
    ]
    text = json.dumps({"nbformat": 4, "cells": cells}).replace("\\\\n", "\\n")
    result = legacy(tmp_path, text, name="book.ipynb")
    assert (result.stdout, result.stderr, result.returncode) == ("1\n2\n", "", 0)


@pytest.mark.parametrize(
    ("name", "script", "message"),
    [
        ("x.ipynb", "{}", "error: x.ipynb is no notebook of version 4; save it anew in Jupyter\n"),
    ],
)
def test_what_cannot_be_run(tmp_path: Path, name: str, script: str, message: str) -> None:
    result = legacy(tmp_path, script, name=name)
    assert (result.stderr, result.returncode) == (message, 1)


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fieldwave", "legacy", "run", "nowhere.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.stderr, result.returncode) == ("error: there is no script nowhere.py; check the path\n", 1)


def test_what_is_not_provided_says_so_and_where_to_look(tmp_path: Path) -> None:
    result = legacy(tmp_path, "import azureml.train.hyperdrive\n")
    assert (
        "azureml.train is not provided; docs/legacy.md lists what is, and the native way of what" in result.stderr
    )


def test_without_tensorflow_the_extra_is_named(tmp_path: Path) -> None:
    absent = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "tensorflow" else found(name, package)
import tensorflow
"""
    result = legacy(tmp_path, absent)
    assert (result.stderr, result.returncode) == (
        "error: a script that imports tensorflow needs the extra 'legacy': pip install 'fieldwave[legacy]'\n",
        1,
    )


def test_tensorflow_1_and_dead_addresses(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install tensorflow-cpu")
    result = legacy(
        tmp_path,
        """
import tensorflow as tf
from tensorflow.python.framework import ops
import tensorflow.compat.v1 as tf1
tf.reset_default_graph()
x = tf.placeholder(tf.float32, [None, 3])
with tf.Session() as session:
    print(session.run(tf.reduce_sum(x * 2), {x: [[1, 2, 3]]}), tf.contrib.util.make_ndarray is tf1.make_ndarray)
import requests
url = "https://raw.githubusercontent.com/Lasagne/Recipes/master/examples/resnet50/imagenet_classes.txt"
print(requests.get(url).text.splitlines()[288])
from urllib.request import urlopen
print(len(urlopen(url).read().decode().splitlines()))
""",
    )
    assert result.stdout == "12.0 True\nleopard\n1000\n"
    said = "fieldwave: https://raw.githubusercontent.com/Lasagne/Recipes/master/examples/resnet50/imagenet_classes.txt"
    assert result.stderr == f"{said} is answered from this package\n" * 2


def test_the_labels_are_a_line_each() -> None:
    content = content_of(
        "https://raw.githubusercontent.com/Lasagne/Recipes/master/examples/resnet50/imagenet_classes.txt"
    )
    assert content is not None and content.decode().splitlines() == list(imagenet_labels())
    assert content_of("https://example.org/imagenet_classes.txt") is None
