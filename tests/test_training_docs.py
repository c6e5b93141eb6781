"""The snippets of docs/training.md, one after the other."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'fieldwave[torch]'")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install scikit-learn")

PAGE = Path(__file__).parents[1] / "docs" / "training.md"
CAT = """<annotation><filename>{name}</filename><size><width>{width}</width><height>{height}</height></size>
<object><name>{kind}</name><bndbox><xmin>20</xmin><ymin>20</ymin><xmax>200</xmax><ymax>200</ymax></bndbox></object>
</annotation>"""


def snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_snippets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in snippets()[:3]:
        exec(compile(snippet, str(PAGE), "exec"), names)
    assert names["head"].score(names["features"][180:], names["odd"][180:]) > 0.95
    assert names["package"].manifest.labels == ("even", "odd")
    assert names["quantized"].report.int8_accuracy > 0.9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.zip", "tuned.zip"]


@pytest.mark.slow
def test_the_snippet_of_detection(
    tmp_path: Path, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / "VOC" / folder).mkdir(parents=True)
    for path in photographs[:2]:
        shutil.copy(path, tmp_path / "VOC" / "JPEGImages")
        with Image.open(path) as image:
            width, height = image.size
        text = CAT.format(name=path.name, kind="cat", width=width, height=height)
        (tmp_path / "VOC" / "Annotations" / f"{path.stem}.xml").write_text(text)
    names: dict[str, Any] = {}
    exec("from fieldwave import training, zoo", names)
    exec(compile(snippets()[3], str(PAGE), "exec"), names)
    assert len(names["losses"]) == 1 and names["model"].labels == ("background", "cat", "dog")
