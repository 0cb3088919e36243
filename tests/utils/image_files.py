"""Image files that Pillow does not write: written byte by byte, so that their values are known."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def write_png(path: Path, pixels: np.ndarray, transparent: bytes = b"") -> Path:
    """A PNG of 8 or 16 bits; 1 to 4 channels, or none for gray."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    depth = 8 * pixels.dtype.itemsize
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels)
    content = _chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, color, 0, 0, 0))
    content += _chunk(b"tRNS", transparent) if transparent else b""
    content += _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def write_tiff(path: Path, pixels: bytes, size: tuple[int, int], **options: int) -> Path:
    """A TIFF of one strip.

    Args:
        path: where to write it.
        pixels: as they lie in the file.
        size: width and height.
        **options: `bits` of a value, `channels`, `kind` (1 unsigned, 2 signed, 3 float),
            `photometric` (0 white is zero, 1 black is zero, 2 RGB), `big` for the other order of
            bytes, `orientation`.
    """
    known = {"bits": 16, "channels": 1, "kind": 1, "photometric": 1, "big": 0, "orientation": 1, **options}
    order, channels = ">" if known["big"] else "<", known["channels"]
    tags = {256: [size[0]], 257: [size[1]], 258: [known["bits"]] * channels, 259: [1]}
    tags |= {262: [known["photometric"]], 273: [0], 274: [known["orientation"]], 277: [channels]}
    tags |= {278: [size[1]], 279: [len(pixels)], 339: [known["kind"]] * channels}
    start = 8 + 2 + 12 * len(tags) + 4
    tail, entries = b"", b""
    for tag, values in tags.items():
        if tag == 273:
            values = [start + 2 * 3 * channels * 2]
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            packed, tail = struct.pack(f"{order}L", start + len(tail)), tail + packed
        entries += struct.pack(f"{order}HHL", tag, 3, len(values)) + packed.ljust(4, b"\0")
    head = (b"MM" if known["big"] else b"II") + struct.pack(f"{order}HLH", 42, 8, len(tags))
    tail = tail.ljust(2 * 3 * channels * 2, b"\0")
    path.write_bytes(head + entries + b"\0" * 4 + tail + pixels)
    return path


def write_jpeg_with_exif(path: Path, entries: list[tuple[int, int, int, bytes]]) -> Path:
    """A red JPEG, 30 pixels wide and 20 high, with raw entries of EXIF: tag, type, count, four bytes."""
    plain = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(plain, "JPEG")
    packed = b"".join(struct.pack("<HHL", *entry[:3]) + entry[3] for entry in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(entries)) + packed + b"\0" * 4
    content = plain.getvalue()
    path.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    return path
