"""PNG files, by Pillow, from the four kinds of chunk that carry pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ImageError
from fieldwave.preprocess.limits import check_pixels

__all__ = ["MAGIC", "decode_png", "promised_size"]

MAGIC = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS = 100_000
_HEADER = struct.Struct(">IIBBBBB")
_PALETTE = 3
_BIT_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), _PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SAMPLES = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}
# The passes of an interlaced image: first row, first column, row step, column step.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_PIECE = 2**16
# 0.299, 0.587 and the rest in 15 bits, as libpng cuts them: TensorFlow's decode_png(channels=1).
_LUMA = (9797, 19234, 3737)


def decode_png(data: bytes, channels: int) -> NDArray[np.uint8]:
    """Decode a PNG file to pixels [height, width, channels] in R, G, B order, or grey for one channel.

    Transparency is dropped and not blended; 16 bits are cut to the upper 8; grey is expanded to three
    channels; colour becomes grey by the luma of the upper 8 bits, whatever gamma the file gives. An
    animation gives its default picture.

    Only the header, the palette and the pixel data reach the decoder, so a bomb in a text or a colour profile
    does not go off.

    Raises:
        ImageError: truncated, damaged or too large.
    """
    header, palette, compressed = _read(data)
    _check_size(compressed, header.raw_size)
    stored = _decompress(header, palette, compressed)
    if header.colour == _PALETTE:
        # An index past the end of the palette is black, as in libpng.
        colours = np.frombuffer(palette.ljust(768, b"\0"), np.uint8).reshape(256, 3)
        return _to_channels(colours.take(stored, axis=0), channels)
    return _to_channels(stored.reshape(header.height, header.width, -1), channels)


def promised_size(data: bytes) -> tuple[int, int]:
    """Width and height in the header at the start of a PNG file; 0, 0 if it is not there."""
    start = len(MAGIC)
    if data[start + 4 : start + 8] != b"IHDR" or len(data) < start + 16:
        return 0, 0
    width, height = struct.unpack_from(">II", data, start + 8)
    return width, height


def _to_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Drop the alpha channel and expand grey, or reduce colour."""
    colour = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    if channels == 1 and colour.shape[2] == 3:
        luma = np.zeros((*colour.shape[:2], 1), np.uint32)
        for c, weight in enumerate(_LUMA):
            luma += np.multiply(colour[..., c : c + 1], weight, dtype=np.uint32)
        colour = (luma >> 15).astype(np.uint8)
    elif channels == 3 and colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    return np.ascontiguousarray(colour)


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool
    data: bytes

    @property
    def raw_size(self) -> int:
        """Bytes of the pixel data before compression: each row has one more that names its filter."""
        size = 0
        for top, left, down, right in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            rows, columns = -(-(self.height - top) // down), -(-(self.width - left) // right)
            if rows > 0 and columns > 0:
                size += rows * (1 + -(-columns * _SAMPLES[self.colour] * self.bits // 8))
        return size


def _read(data: bytes) -> tuple[_Header, bytes, bytes]:
    """The header, the palette (or nothing) and the compressed pixels; refuses a file that is not whole."""
    chunks = _chunks(data)
    kind, content = next(chunks)
    if kind != b"IHDR":
        raise _damaged("the first chunk is not IHDR")
    header = _parse_header(content)
    palette = b""
    compressed: list[bytes] = []
    for kind, content in chunks:
        if kind == b"IDAT":
            compressed.append(content)
        elif kind == b"PLTE":
            palette = content
        elif kind == b"IEND":
            break
        else:
            raise _damaged(f"the chunk {kind.decode('latin-1')!r} is not expected in it")
    if header.colour == _PALETTE and (len(palette) % 3 or not 3 <= len(palette) <= 768):
        raise _damaged(f"its palette has {len(palette)} bytes")
    return header, palette, b"".join(compressed)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks that a decoder must know; the others are skipped unread."""
    position = len(MAGIC)
    for _ in range(_MAX_CHUNKS):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if kind == b"IHDR" and len(data) >= position + 8 + _HEADER.size:
            # Before anything else, so that a bomb is called one even where the rest of the file is missing.
            check_pixels(*struct.unpack_from(">II", data, position + 8))
        if end > len(data):
            raise _damaged("it ends before the IEND chunk")
        if _is_critical(kind):
            content = data[position + 8 : end - 4]
            if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
                raise _damaged(f"the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
            yield kind, content
        position = end
    raise _damaged(f"there are more than {_MAX_CHUNKS} chunks")


def _is_critical(kind: bytes) -> bool:
    """Told by the case of the first letter: PNG, third edition, 5.4."""
    return not kind[0] & 0x20


def _parse_header(content: bytes) -> _Header:
    if len(content) != _HEADER.size:
        raise _damaged(f"its header has {len(content)} bytes, expected {_HEADER.size}")
    width, height, bits, colour, compression, filtering, interlace = _HEADER.unpack(content)
    if not width or not height:
        raise _damaged(f"its header says {width} x {height} pixels")
    if bits not in _BIT_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise _damaged(
            f"its header says colour type {colour}, {bits} bits, compression {compression}, "
            f"filter {filtering}, interlace {interlace}"
        )
    return _Header(width, height, bits, colour, bool(interlace), content)


def _check_size(compressed: bytes, size: int) -> None:
    """Refuse pixel data of less than ``size`` bytes: Pillow would take the missing rows for black ones.

    Inflated in small pieces, so that the memory this takes does not depend on the image.
    """
    inflater = zlib.decompressobj()
    try:
        for start in range(0, len(compressed), _PIECE):
            piece = compressed[start : start + _PIECE]
            while piece and size > 0:
                size -= len(inflater.decompress(piece, _PIECE))
                piece = inflater.unconsumed_tail
    except zlib.error as error:
        raise _damaged("its pixel data is broken") from error
    if size > 0:
        raise _damaged(f"its pixel data is incomplete, {size} bytes are missing")


def _decompress(header: _Header, palette: bytes, compressed: bytes) -> NDArray[np.uint8]:
    """The stored values, [height, width] or [height, width, channels], as 8 bits."""
    from PIL import PngImagePlugin  # slow to import, and most images are JPEG

    plte = [(b"PLTE", palette)] if header.colour == _PALETTE else []
    chunks = [(b"IHDR", header.data), *plte, (b"IDAT", compressed), (b"IEND", b"")]
    file = io.BytesIO(MAGIC + b"".join(_chunk(kind, content) for kind, content in chunks))
    try:
        with PngImagePlugin.PngImageFile(file) as image:
            image.load()
            stored = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged("its pixel data is broken") from error
    if stored.dtype == np.bool_:
        return stored.astype(np.uint8) * np.uint8(255)
    if stored.dtype == np.uint16:
        return (stored >> 8).astype(np.uint8)
    return stored.astype(np.uint8, copy=False)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _damaged(reason: str) -> ImageError:
    return ImageError(f"the PNG is truncated or damaged: {reason}; send the whole file")
