import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.package.container import DamageError, pack, unpack
from fieldwave.package.manifest import check_file_name

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
contents = st.dictionaries(names, st.binary(max_size=200), max_size=6)

FILES = {"model.onnx": b"weights", "manifest.json": b"{}\n"}


def zip_of(name: str, data: bytes = b"x", *, mode: int = 0o100644, method: int = zipfile.ZIP_STORED) -> bytes:
    """What zipfile writes for one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr, member.compress_type = mode << 16, method
        archive.writestr(member, data)
    return buffer.getvalue()


@settings(deadline=None)
@given(contents)
def test_files_come_back(files: dict[str, bytes]) -> None:
    assert unpack(pack(files)) == files


@settings(deadline=None)
@given(contents)
def test_any_zip_tool_reads_the_archive(files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(pack(files))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_same_files_give_the_same_bytes_in_whatever_order() -> None:
    assert pack(FILES) == pack(dict(reversed(FILES.items())))


def test_members_are_fixed_in_order_time_and_permissions() -> None:
    with zipfile.ZipFile(io.BytesIO(pack({"z.npu": b"", "a.npu": b"", **FILES}))) as archive:
        assert archive.namelist() == ["manifest.json", "a.npu", "model.onnx", "z.npu"]
        for member in archive.infolist():
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert member.external_attr == 0o100644 << 16
            assert (member.create_system, member.create_version, member.extract_version) == (3, 20, 20)
            assert (member.flag_bits, member.compress_type, member.extra, member.comment) == (0, 0, b"", b"")


def test_the_bytes_are_these_on_every_machine() -> None:
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0xD87F7E0C, 4, 4, 1, 0) + b"a" + b"test"
    central = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 788, 20, 0, 0, 0, 33, 0xD87F7E0C, 4, 4, 1, *[0] * 4, 0x81A40000, 0
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 47, 35, 0)
    assert pack({"a": b"test"}) == local + central + b"a" + end


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/b", "a\\b", "..", ".hidden", "C:evil", "UPPER", "ä", "a\nb", "x" * 101]
)
def test_names_that_leave_their_folder_or_mean_different_files_are_refused(name: str) -> None:
    with pytest.raises(DamageError) as error:
        unpack(zip_of(name))
    allowed = "(a-z, 0-9, '.', '_', '-', at most 100)"
    assert str(error.value) == f"member {name!r} is no file name of a package {allowed}"


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(DamageError, match=r"^member 'a\\x00b' is no file name of a package"):
        unpack(pack({"a-b": b""}).replace(b"a-b", b"a\0b"))


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(DamageError, match=r"^member 'a\\\\xffb' is no file name of a package"):
        unpack(pack({"a-b": b""}).replace(b"a-b", b"a\xffb"))


def patched(central: dict[int, int], files: dict[str, bytes] = FILES) -> bytes:
    """A packed archive with bytes at offsets of the first directory entry overwritten."""
    archive = bytearray(pack(files))
    start = archive.index(b"PK\1\2")
    for offset, value in central.items():
        archive[start + offset] = value
    return bytes(archive)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "it is not a zip file"),
        (b"hello", "it is not a zip file"),
        (b"PK\3\4", "the zip directory at its end is missing, the file is cut short"),
        (pack(FILES)[:-1], "the zip directory at its end is missing, the file is cut short"),
        (pack(FILES)[:60], "the zip directory at its end is missing, the file is cut short"),
        (pack(FILES) + b"tail", "the zip directory at its end is missing, the file is cut short"),
        (b"PK" + pack(FILES), "the zip directory is not where the end of the file says"),
        (pack({f"f{n}": b"" for n in range(65)}), "it has 65 members, at most 64 are allowed"),
        (zip_of("link", mode=0o120777), "link is a symbolic link"),
        (zip_of("folder", b"", mode=0o040755), "folder is a folder"),
        (zip_of("bomb", bytes(10**6), method=zipfile.ZIP_DEFLATED), "bomb is compressed (method 8), a package"
         " stores its files as they are"),
        (patched({8: 1}), "manifest.json is encrypted"),
        (patched({38: 0x10}), "manifest.json is a folder"),
        (patched({0: 0}), "the zip directory holds something else than members"),
        (patched({42: 5}), "manifest.json is not where the zip directory says"),
        (patched({24: 255, 25: 255}), "manifest.json is not where the zip directory says"),
        (patched({28: 255}), "the zip directory is cut short"),
    ],
)  # fmt: skip
def test_what_a_package_never_has_is_refused(archive: bytes, message: str) -> None:
    with pytest.raises(DamageError) as error:
        unpack(archive)
    assert str(error.value) == message


def test_two_members_of_one_name_are_refused() -> None:
    with pytest.raises(DamageError) as error:
        unpack(pack({"same-a": b"1", "same-b": b"2"}).replace(b"same-b", b"same-a"))
    assert str(error.value) == "it has two members named same-a"


def test_members_that_share_their_bytes_are_refused() -> None:
    archive = bytearray(pack({"a": b"x" * 1000, "b": b"x" * 1000}))
    second = archive.rindex(b"PK\1\2")
    archive[second + 42 : second + 46] = bytes(4)
    with pytest.raises(DamageError) as error:
        unpack(bytes(archive))
    assert str(error.value) == "b is not where the zip directory says"


def test_a_directory_shorter_than_its_count_is_refused() -> None:
    archive = bytearray(pack(FILES))
    archive[-14:-10] = struct.pack("<2H", 3, 3)
    with pytest.raises(DamageError) as error:
        unpack(bytes(archive))
    assert str(error.value) == "the zip directory is cut short"


@settings(deadline=None)
@given(st.binary(max_size=300), contents, st.integers(min_value=0), st.integers(min_value=0))
def test_any_bytes_give_files_or_a_damage_error(noise: bytes, files: dict[str, bytes], at: int, drop: int) -> None:
    archive = pack(files)
    at %= len(archive) + 1
    spoilt = archive[:at] + noise + archive[at + drop % 100 :]
    for data in (noise, b"PK" + noise, spoilt):
        try:
            found = unpack(data)
        except DamageError as error:
            assert "\n" not in str(error)
        else:
            assert all(check_file_name(name) == name for name in found)
            assert sum(map(len, found.values())) <= len(data)
