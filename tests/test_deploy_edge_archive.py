from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from fieldwave.deploy.edge.archive import read_archive
from fieldwave.errors import ArtifactError, StorageError
from tests import edge_image

pytestmark = pytest.mark.skipif(edge_image.CATATONIT is None, reason=edge_image.MISSING)


def test_an_archive_says_what_is_in_it(tmp_path: Path) -> None:
    path = edge_image.write_archive(tmp_path / "a.tar", machine="arm64", padding=b"x" * 1000)
    archive = read_archive(path)
    assert (archive.machine, archive.package, archive.network) == ("arm64", f"sha256:{'1' * 64}", "tiny")
    assert archive.digest == f"sha256:{archive.blobs[0].hex}"
    assert len(archive.blobs) == 3
    assert archive.size == sum(blob.size for blob in archive.blobs)
    with tarfile.open(path) as tar, path.open("rb") as file:
        for blob in archive.blobs:
            member = tar.extractfile(f"blobs/sha256/{blob.hex}")
            assert member is not None
            file.seek(blob.offset)
            assert file.read(blob.size) == member.read()


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "a.tar"
    said = f"{wrong} is no archive of a container image; make one with 'fieldwave images copy'"
    wrong.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(ArtifactError) as caught:
        read_archive(wrong)
    assert str(caught.value) == said
    edge_image.write_archive(wrong, broken="index")
    with pytest.raises(ArtifactError) as caught:
        read_archive(wrong)
    assert str(caught.value) == said
    edge_image.write_archive(wrong, broken="layer")
    with pytest.raises(ArtifactError, match=r"a\.tar lacks sha256:[0-9a-f]{64}, which its image is made of"):
        read_archive(wrong)
    cut = edge_image.write_archive(tmp_path / "cut.tar", padding=b"x" * 5000).read_bytes()
    wrong.write_bytes(cut[: len(cut) // 2])
    with pytest.raises(ArtifactError):
        read_archive(wrong)
    with pytest.raises(StorageError, match=r"cannot read .*nothing\.tar: No such file"):
        read_archive(tmp_path / "nothing.tar")
