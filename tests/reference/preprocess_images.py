"""Writes tests/data/preprocess: one small image of each kind of PNG and JPEG that a client may send.

    python tests/reference/preprocess_images.py          # needs numpy and Pillow

PNG files are written chunk by chunk, because common writers know only some of the kinds.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "data" / "preprocess"
HEIGHT, WIDTH = 29, 37
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def pattern(channels: int, bits: int) -> NDArray[np.uint16]:
    """Edges, gradients and a little texture: [HEIGHT, WIDTH, channels] of ``bits`` bits."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(channels), indexing="ij")
    waves = np.sin(x * (0.31 + 0.07 * c)) * np.cos(y * (0.23 - 0.05 * c)) + ((x // 9 + y // 7 + c) % 2) - 0.5
    levels = 2**bits - 1
    return np.clip(np.rint((waves + 1.5) / 3 * levels), 0, levels).astype(np.uint16)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def filtered_rows(samples: NDArray[np.uint16], bits: int) -> bytes:
    rows = []
    for index, row in enumerate(samples):
        if bits == 16:
            packed = np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
        elif bits == 8:
            packed = row.astype(np.uint8).ravel()
        else:
            each = np.unpackbits(row.astype(np.uint8).ravel()[:, np.newaxis], axis=1)[:, 8 - bits :]
            packed = np.packbits(each.ravel())
        step = max(1, samples.shape[2] * bits // 8)
        sub = index % 2  # every other row by the filter Sub, so that a filter is undone as well
        if sub:
            packed = np.concatenate([packed[:step], packed[step:] - packed[:-step]])
        rows.append(bytes([sub]) + packed.tobytes())
    return b"".join(rows)


def png(
    samples: NDArray[np.uint16], bits: int, colour: int, *, before: bytes = b"", interlace: bool = False
) -> bytes:
    """A PNG file of samples [height, width, channels]; ``before`` are chunks between IHDR and IDAT."""
    height, width, channels = samples.shape
    assert channels == CHANNELS[colour]
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlace else [samples]
    raw = b"".join(filtered_rows(part, bits) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    compressed = zlib.compress(raw, 9)
    middle = len(compressed) // 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", compressed[:middle])
        + chunk(b"IDAT", compressed[middle:])
        + chunk(b"IEND", b"")
    )


def png_files() -> Iterator[tuple[str, bytes]]:
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 4: (8, 16), 6: (8, 16)}
    names = {0: "grey", 2: "rgb", 4: "grey_alpha", 6: "rgb_alpha"}
    for colour, name in names.items():
        for bits in depths[colour]:
            yield f"{name}{bits}", png(pattern(CHANNELS[colour], bits), bits, colour)
    palette = np.random.default_rng(7).integers(0, 256, (256, 3), np.uint8)
    for bits in (1, 2, 4, 8):
        plte = chunk(b"PLTE", palette[: 2**bits].tobytes())
        yield f"palette{bits}", png(pattern(1, bits), bits, 3, before=plte)
    plte = chunk(b"PLTE", palette[:16].tobytes())
    transparent = plte + chunk(b"tRNS", bytes(range(0, 160, 10)))
    yield "palette4_transparent", png(pattern(1, 4), 4, 3, before=transparent)
    yield "palette4_interlaced", png(pattern(1, 4), 4, 3, before=plte, interlace=True)
    yield "palette8_short", png(pattern(1, 8), 8, 3, before=chunk(b"PLTE", palette[:100].tobytes()))
    yield "grey1_interlaced", png(pattern(1, 1), 1, 0, interlace=True)
    yield "rgb16_interlaced", png(pattern(3, 16), 16, 2, interlace=True)
    key = chunk(b"tRNS", struct.pack(">HHH", *pattern(3, 8)[3, 5].tolist()))
    yield "rgb8_transparent", png(pattern(3, 8), 8, 2, before=key)
    gamma = chunk(b"gAMA", struct.pack(">I", 45_455)) + chunk(b"sBIT", bytes([5, 6, 5]))
    yield "rgb8_gamma", png(pattern(3, 8), 8, 2, before=gamma)
    yield "pixel", png(pattern(3, 8)[:1, :1], 8, 2)
    yield "column", png(pattern(3, 8)[:, :1], 8, 2)


def jpeg_files() -> Iterator[tuple[str, bytes]]:
    from PIL import Image

    def save(image: Image.Image, **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=80, **options)
        return file.getvalue()

    rgb = Image.fromarray(pattern(3, 8).astype(np.uint8))
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        yield f"jpeg{subsampling.replace(':', '')}", save(rgb, subsampling=subsampling)
    yield "jpeg_progressive", save(rgb, progressive=True)
    yield "jpeg_restarts", save(rgb, restart_marker_blocks=1)
    yield "jpeg_rgb", save(rgb, keep_rgb=True)
    yield "jpeg_grey", save(Image.fromarray(pattern(1, 8)[..., 0].astype(np.uint8)))
    orientation = Image.Exif()
    orientation[0x0112] = 6
    yield "jpeg_orientation", save(rgb, exif=orientation)
    cmyk = save(Image.frombytes("CMYK", (WIDTH, HEIGHT), pattern(4, 8).astype(np.uint8).tobytes()))
    yield "jpeg_cmyk_adobe", cmyk
    adobe = cmyk.index(b"\xff\xee")
    yield "jpeg_cmyk", cmyk[:adobe] + cmyk[adobe + 16 :]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, data in png_files():
        (FOLDER / f"{name}.png").write_bytes(data)
    for name, data in jpeg_files():
        (FOLDER / f"{name}.jpg").write_bytes(data)
